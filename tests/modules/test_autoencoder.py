"""The autoencoder's errors and scores against values worked out by hand."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from leyden.config.builders import section
from leyden.config.compose import compose
from leyden.config.instantiate import instantiate
from leyden.modules.autoencoder import Autoencoder
from leyden.nets import codec
from leyden.optim import constant

FACTORIES = partial(torch.optim.Adam, lr=3e-3), partial(constant), {"metric": "val/loss", "mode": "min"}


class Grey(codec.Autoencoder):
    """An autoencoder that reconstructs every image as a uniform grey, logit 0."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.zeros_like(images)


def test_the_error_of_an_image_and_its_score() -> None:
    module = Autoencoder(Grey((1, 4, 4), 4, (4,), "batch"), *FACTORIES, anomaly=None)
    images = torch.tensor([[0.0, 1.0, 0.0, 1.0], [0.5, 0.5, 0.5, 0.9]]).view(2, 1, 2, 2)
    assert module.errors(images).tolist() == pytest.approx([0.25, 0.04])
    assert module.predict(images)["scores"].tolist() == pytest.approx([0.25 / (1 / 3), 0.04 / 0.04])


def test_a_class_left_out_is_an_anomaly(finished: Callable[..., Path]) -> None:
    folder = finished("model=autoencoder", "data.exclude_class=0", "trainer.max_epochs=4")
    report = json.loads((folder / "report.json").read_text())
    sizes = report["data"]["sizes"]
    assert (sizes["train"] + sizes["val"], sizes["test"]) == (1438 - 151, 359)
    assert 0.6 < report["metrics"]["test/auroc"] <= 1
    data = instantiate(section(compose("data.exclude_class=0"), "data"), "data")
    for stage in ("fit", "test"):
        data.setup(stage)
    assert set(data.train[1].tolist()) == set(data.val[1].tolist()) == set(range(1, 10))
    assert set(data.test[1].tolist()) == set(range(10))
