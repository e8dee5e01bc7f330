"""Metrics of texts against values worked out by hand, and a net that learns to read."""

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
from leyden.modules.transcriber import TextMetrics, Transcriber, most_likely

END = 2  # of the alphabet 0, 1, END


def logits_of(*texts: list[int]) -> Tensor:
    """Logits (B, L · V) that predict these texts."""
    return one_hot(torch.tensor(texts), 3).float().flatten(1)


def test_symbols_after_the_first_end_are_ignored() -> None:
    texts = [1, END, 0, 1], [END, END, END, 0], [0, 1, 0, 1], [0, 0, 1, END]
    assert most_likely(logits_of(*texts), 3).tolist() == [
        [1, END, -1, -1],
        [END, -1, -1, -1],
        [0, 1, 0, 1],
        [0, 0, 1, END],
    ]


def test_metrics() -> None:
    metrics = TextMetrics(3)
    metrics.update(logits_of([1, END, 0], [0, 1, END]), torch.tensor([[1, END, -1], [0, 0, END]]))
    metrics.update(logits_of([0, 0, 0]), torch.tensor([[0, END, -1]]))
    metrics.update(logits_of([END, 1, 1]), torch.tensor([[0, 1, END]]))
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


def test_a_sequence_model_is_trained_with_teacher_forcing_and_evaluated_by_greedy_decoding() -> None:
    built, images = module("seq2seq"), torch.randn(4, 1, 32, 112)
    targets = torch.tensor([[3, 10, -1, -1, -1]] * 4)
    with torch.no_grad():
        taught = built.loss(built.net(images, targets), targets)
        assert torch.equal(built.training_step((images, targets), 0), taught)
        built.validation_step((images, targets), 0)
        assert torch.equal(built.eval_means.unread[0][0], taught)
        expected = TextMetrics(11)
        expected.update(built.net(images), targets)
        assert torch.equal(built.val_metrics["text"].counts, expected.counts)
        assert torch.equal(built.predict(images)["symbols"], most_likely(built.net(images), 11))


def test_the_probability_of_a_text_ends_with_its_end_symbol() -> None:
    built = module("mlp")
    built.use_classes("abcdefghij")
    probabilities = torch.full((2, 5, 11), 0.05)
    for position, symbol in enumerate((3, 1, 10, 7, 7)):  # what follows the end symbol does not count
        probabilities[0, position, symbol] = 0.5
    probabilities[1, :, 4] = 0.5
    named = built.named_outputs(probabilities.log().flatten(1), torch.empty(0))
    assert named["symbols"].tolist() == [[3, 1, 10, -1, -1], [4, 4, 4, 4, 4]]
    ended, full = built.predictions(named)
    assert (ended.prediction, full.prediction) == ("db", "eeeee")
    assert (ended.probability, full.probability) == (pytest.approx(0.5**3), pytest.approx(0.5**5))
    assert ended.top == (("db", ended.probability),)


@pytest.mark.parametrize("model", ["mlp", "seq2seq"])
def test_it_learns_to_read(finished: Callable[..., Path], model: str) -> None:
    """Images of one digit; a random text is correct one time in ten."""
    folder = finished(
        f"model={model}", "data=digit_strings", "data.max_digits=1", "data.shape=[1,28,28]", "data.num_train=8000",
        "data.num_eval=200", "data.batch_size=64", "trainer.max_epochs=2",
    )  # fmt: skip
    report = json.loads((folder / "report.json").read_text())
    assert report["objective"]["metric"] == "val/exact"
    assert report["metrics"]["test/exact"] > 0.5
    assert report["metrics"]["test/acc"] > report["metrics"]["test/exact"]
    texts = leyden.load(folder).module.predict(torch.zeros(1, 1, 28, 28))["symbols"]
    assert texts.shape == (1, 2)
