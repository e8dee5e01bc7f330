"""From normalised images back to pixels."""

import torch

from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.data.datamodule import DataFacts
from leyden.modules.pixels import to_pixels


def test_modules_work_on_pixels_from_0_to_1() -> None:
    module = build_module(compose("model=vae", "data=cifar10"))
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.5, 0.5)
    module.use_facts(DataFacts(mean=mean, std=std))
    pixels = torch.rand(2, 3, 32, 32)
    images = (pixels - torch.tensor(mean).view(3, 1, 1)) / 0.5
    assert torch.allclose(to_pixels(module, images), pixels, atol=1e-6)
    assert {"pixel_mean", "pixel_std"} <= module.state_dict().keys()
