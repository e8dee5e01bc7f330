"""Thresholds and metrics of several labels against values worked out by hand, and scikit-learn's."""

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from leyden.metrics.label_metrics import LabelMetrics, average_precision, best_thresholds, label_scores

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


def test_the_scores_of_each_label() -> None:
    predicted = torch.tensor([0.5, 0.35]) <= PROBABILITIES  # first label: samples 0 and 1; second: sample 1
    found = {name: values.tolist() for name, values in label_scores(predicted, TARGETS > 0, PROBABILITIES).items()}
    assert found["support"] == [2, 2]
    assert found["precision"] == pytest.approx([1 / 2, 1])
    assert found["recall"] == pytest.approx([1 / 2, 1 / 2])
    assert found["f1"] == pytest.approx([1 / 2, 2 / 3])
    for name, score in (("auroc", roc_auc_score), ("average_precision", average_precision_score)):
        assert found[name] == pytest.approx([score(TARGETS[:, label], PROBABILITIES[:, label]) for label in (0, 1)])
    absent = label_scores(predicted, torch.zeros(4, 2, dtype=torch.bool), PROBABILITIES)
    assert absent["precision"].tolist() == absent["recall"].tolist() == absent["f1"].tolist() == [0, 0]
    assert absent["auroc"].isnan().all()
    assert absent["average_precision"].isnan().all()


def test_average_precision_is_that_of_scikit_learn() -> None:
    rng = torch.Generator().manual_seed(0)
    scores = torch.rand(200, 4, generator=rng).mul(20).round() / 20  # many ties
    targets = torch.randint(0, 2, (200, 4), generator=rng)
    targets[:, 3] = 0
    found = average_precision(scores, targets)
    expected = [average_precision_score(targets[:, label], scores[:, label]) for label in range(3)]
    assert found[:3].tolist() == pytest.approx(expected)
    assert found[3].isnan()
