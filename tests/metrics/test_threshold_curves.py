"""ROC and precision-recall curves, checked by hand and against the areas that are computed in another way."""

import pytest
import torch

from leyden.metrics.classification import area, class_auroc
from leyden.metrics.label_metrics import average_precision, label_auroc
from leyden.metrics.threshold_curves import precision_recall_curve, roc_curve

SCORES = torch.tensor([0.9, 0.8, 0.8, 0.3])
POSITIVE = torch.tensor([True, True, False, False])


def test_the_points_of_four_samples() -> None:
    false, true = roc_curve(SCORES, POSITIVE)
    assert (false.tolist(), true.tolist()) == ([0, 0, 0.5, 1], [0, 0.5, 1, 1])
    recall, precision = precision_recall_curve(SCORES, POSITIVE)
    assert recall.tolist() == [0.5, 1, 1]
    assert precision.tolist() == pytest.approx([1, 2 / 3, 2 / 4])


def test_the_areas_are_those_of_the_metrics() -> None:
    rng = torch.Generator().manual_seed(0)
    scores = torch.rand(300, generator=rng).mul(50).round()  # with ties
    positive = torch.rand(300, generator=rng) < 0.3
    false, true = roc_curve(scores, positive)
    assert float(torch.trapezoid(true, false)) == pytest.approx(float(area(scores[positive], scores)))
    recall, precision = precision_recall_curve(scores, positive)
    gains = torch.diff(recall, prepend=recall.new_zeros(1))
    expected = float(average_precision(scores[:, None], positive[:, None].long()))
    assert float((gains * precision).sum()) == pytest.approx(expected)


def test_the_auroc_of_labels_is_that_of_classes() -> None:
    rng = torch.Generator().manual_seed(0)
    scores, labels = torch.rand(50, 4, generator=rng), torch.randint(0, 3, (50,), generator=rng)
    members = torch.nn.functional.one_hot(labels, 4).bool()
    assert label_auroc(scores, members)[:3].equal(class_auroc(scores, labels)[:3])
    assert label_auroc(scores, members)[3].isnan()
