"""Calibration, checked by hand."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from leyden.metrics.calibration import bins, fit_temperature


def test_the_expected_calibration_error_of_four_predictions() -> None:
    confidence = torch.tensor([0.95, 0.85, 0.8, 0.55], dtype=torch.float64)
    found = bins(confidence, torch.tensor([True, True, False, False]), num_bins=5)
    # (0.4, 0.6]: 0.55, wrong; (0.6, 0.8]: 0.8, wrong; (0.8, 1]: 0.95 and 0.85, both right
    assert found.counts.tolist() == [0, 0, 1, 1, 2]
    assert found.confidence.tolist() == pytest.approx([0, 0, 0.55, 0.8, 0.9])
    assert found.accuracy.tolist() == [0, 0, 0, 0, 1]
    assert found.error == pytest.approx((0.55 + 0.8 + 2 * 0.1) / 4)


def test_certain_and_impossible_predictions_have_a_bin() -> None:
    found = bins(torch.tensor([0.0, 1.0]), torch.tensor([False, True]))
    assert (found.counts[0], found.counts[-1], found.counts.sum()) == (1, 1, 2)
    assert found.error == 0


def test_the_temperature_makes_the_confidence_the_accuracy() -> None:
    # Two classes whose logits differ by 4, right in 3 of 4 cases: softmax([4 / T, 0]) = [3/4, 1/4], so 4 / T = ln 3.
    logits = torch.tensor([[4.0, 0.0]]).repeat(4, 1)
    labels = torch.tensor([0, 0, 0, 1])
    assert fit_temperature(logits, labels) == pytest.approx(4 / math.log(3), rel=1e-6)
    assert fit_temperature(logits / 10, labels) == pytest.approx(0.4 / math.log(3), rel=1e-6)


def test_the_temperature_has_the_smallest_loss_of_a_grid() -> None:
    rng = torch.Generator().manual_seed(0)
    logits, labels = 5 * torch.randn(200, 7, generator=rng), torch.randint(0, 7, (200,), generator=rng)
    labels[:120] = logits[:120].argmax(1)
    found = fit_temperature(logits, labels)
    losses = {t: float(cross_entropy(logits / t, labels)) for t in torch.logspace(-2, 2, 400).tolist()}
    assert float(cross_entropy(logits / found, labels)) <= min(losses.values()) + 1e-6


def test_a_perfect_classifier_gets_the_smallest_temperature() -> None:
    assert fit_temperature(torch.tensor([[1.0, 0.0]]), torch.tensor([0])) == pytest.approx(0.01)
