"""From normalised images back to pixels from 0 to 1.

Loaders give normalised images. A module that works with pixels keeps the mean and the standard deviation of each
channel as buffers, so that they are in its checkpoints.
"""

import torch
from torch import Tensor, nn

from leyden.data.datamodule import DataFacts


def register_pixel_statistics(module: nn.Module, in_shape: tuple[int, ...]) -> None:
    """Add the buffers `pixel_mean` and `pixel_std`, (C, 1, 1), for images of shape (C, H, W)."""
    module.register_buffer("pixel_mean", torch.zeros(in_shape[0], 1, 1))
    module.register_buffer("pixel_std", torch.ones(in_shape[0], 1, 1))


def use_pixel_statistics(module: nn.Module, facts: DataFacts) -> None:
    """Set the buffers to the statistics of a data set of images."""
    assert facts.mean is not None
    assert facts.std is not None
    for name, values in (("pixel_mean", facts.mean), ("pixel_std", facts.std)):
        module.get_buffer(name).copy_(torch.tensor(values).view(-1, 1, 1))


def to_pixels(module: nn.Module, images: Tensor) -> Tensor:
    """Normalised images (B, C, H, W) → pixels from 0 to 1."""
    return (images * module.get_buffer("pixel_std") + module.get_buffer("pixel_mean")).clamp(0, 1)
