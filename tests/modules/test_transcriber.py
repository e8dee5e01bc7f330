"""Texts: what counts as right, worked out by hand; and a net that learns to read."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

import leyden
from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.modules.transcriber import TextMetrics, Transcriber, written

END = 2  # of the alphabet 0, 1, END


def saying(*texts: list[int]) -> Tensor:
    """Logits (B, L · V) by which these are likeliest."""
    return one_hot(torch.tensor(texts), 3).float().flatten(1)


def test_what_follows_the_first_end_is_of_no_matter() -> None:
    texts = [1, END, 0, 1], [END, END, END, 0], [0, 1, 0, 1], [0, 0, 1, END]
    assert written(saying(*texts), 3).tolist() == [
        [1, END, -1, -1],
        [END, -1, -1, -1],
        [0, 1, 0, 1],
        [0, 0, 1, END],
    ]


def test_figures() -> None:
    metrics = TextMetrics(3)
    metrics.update(saying([1, END, 0], [0, 1, END]), torch.tensor([[1, END, -1], [0, 0, END]]))
    metrics.update(saying([0, 0, 0]), torch.tensor([[0, END, -1]]))
    metrics.update(saying([END, 1, 1]), torch.tensor([[0, 1, END]]))
    found = {name: value.item() for name, value in metrics.compute().items()}
    assert found["exact"] == pytest.approx(1 / 4)
    assert found["acc"] == pytest.approx((2 + 2 + 1 + 0) / (2 + 3 + 2 + 3))


def module(model: str, *overrides: str) -> Any:
    built = build_module(compose(f"model={model}", "data=digit_strings", *overrides)).eval()
    assert isinstance(built, Transcriber)
    return built


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_of_a_text_is_minus_its_log_likelihood(smoothing: float) -> None:
    loss = module("mlp", f"task.label_smoothing={smoothing}").loss
    targets = torch.tensor([[3, 10, -1, -1, -1], [1, 2, 3, 4, 10]])
    even = loss(torch.zeros(2, 55), targets)
    assert even.item() == pytest.approx((2 + 5) / 2 * math.log(11), rel=1e-5)
    right = 9 * one_hot(targets.clamp(0), 11).float().flatten(1)
    assert (loss(right, targets).item() < 0.01) == (smoothing == 0)


def test_a_seq2seq_is_taught_and_has_to_write_by_itself() -> None:
    taught, images = module("seq2seq"), torch.randn(4, 1, 32, 112)
    targets = torch.tensor([[3, 10, -1, -1, -1]] * 4)
    with torch.no_grad():
        loss, outputs = taught.step((images, targets))
        assert torch.equal(outputs, taught.net(images, targets))
        assert torch.equal(loss, taught.loss(outputs, targets))
        assert torch.equal(taught.evaluate((images, targets), taught.val_metrics), taught.net(images))
        assert torch.equal(taught.predict(images), written(taught.net(images), 11))


@pytest.mark.parametrize("model", ["mlp", "seq2seq"])
def test_it_learns_to_read(finished: Callable[..., Path], model: str) -> None:
    """ImageLogger of one digit; a text by chance would be right one time in ten."""
    folder = finished(
        f"model={model}", "data=digit_strings", "data.max_digits=1", "data.shape=[1,28,28]", "data.num_train=8000",
        "data.num_eval=200", "data.batch_size=64", "trainer.max_epochs=2",
    )  # fmt: skip
    report = json.loads((folder / "report.json").read_text())
    assert report["objective"]["metric"] == "val/exact"
    assert report["metrics"]["test/exact"] > 0.5
    assert report["metrics"]["test/acc"] > report["metrics"]["test/exact"]
    texts = leyden.load(folder).predict(torch.zeros(1, 1, 28, 28))
    assert texts.shape == (1, 2)
