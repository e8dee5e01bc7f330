"""Thresholds and metrics of several labels against values worked out by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import leyden
from leyden.modules.multilabel import LabelMetrics, Multilabel, best_thresholds

PROBABILITIES = torch.tensor([[0.9, 0.2], [0.6, 0.4], [0.4, 0.3], [0.1, 0.1]])
TARGETS = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]])


def test_metrics_at_fixed_thresholds() -> None:
    metrics = LabelMetrics()
    for part in (slice(0, 1), slice(1, 4)):
        metrics.update(PROBABILITIES[part].logit(), TARGETS[part])
    metrics.thresholds = torch.tensor([0.5, 0.35])
    found = {name: value.item() for name, value in metrics.compute().items()}
    # predicted: 10, 11, 00, 00; the first and the last are correct
    assert found["exact"] == pytest.approx(2 / 4)
    assert found["f1"] == pytest.approx((2 * 1 / (2 + 2) + 2 * 1 / (1 + 2)) / 2)
    # first label: hits at ranks 1 and 3; second at ranks 1 and 2
    assert found["map"] == pytest.approx(((1 / 1 + 2 / 3) / 2 + 1) / 2)


def test_the_best_threshold_lies_half_way_to_the_next_sample() -> None:
    # first label: F1 is 2/3, 2/4, 4/5, 4/6 down to each rank; second 2/3, 1, 4/5, 4/6
    assert best_thresholds(PROBABILITIES, TARGETS).tolist() == pytest.approx([(0.4 + 0.1) / 2, (0.3 + 0.2) / 2])


def test_no_threshold_separates_two_equal_probabilities() -> None:
    probabilities, targets = torch.tensor([[0.8], [0.8], [0.2]]), torch.tensor([[1], [0], [0]])
    assert best_thresholds(probabilities, targets).item() == pytest.approx(0.5)


def test_the_threshold_of_a_label_that_no_sample_has_is_0_5() -> None:
    assert best_thresholds(PROBABILITIES, torch.zeros_like(TARGETS)).tolist() == [0.5, 0.5]


@pytest.mark.filterwarnings("ignore:.*No positive samples")
def test_thresholds_chosen_on_validation_are_tested_and_are_loaded_with_the_run(finished: Callable[..., Path]) -> None:
    overrides = ["model=mlp", "data=digit_pairs", "data.num_train=2000", "data.num_eval=500", "trainer.max_epochs=2"]
    fixed, chosen = finished(*overrides), finished(*overrides, "task.thresholds=f1")
    reports = [json.loads((folder / "report.json").read_text()) for folder in (fixed, chosen)]
    assert reports[0]["thresholds"] == [0.5] * 10
    assert len(set(reports[1]["thresholds"])) == 10
    assert reports[1]["metrics"]["val/f1"] > reports[0]["metrics"]["val/f1"]
    model = leyden.load(chosen).module
    assert isinstance(model, Multilabel)
    assert model.thresholds.tolist() == reports[1]["thresholds"]
    inputs = torch.randn(5, 1, 56, 56)
    assert torch.equal(model.predict(inputs), model(inputs).sigmoid() >= model.thresholds)
