"""Losses and penalty against values worked out by hand."""

import math

import pytest
import torch
from torch import nn

from leyden.modules.losses import class_loss, class_probabilities, l1_norm, regression_loss

LOGITS = torch.tensor([[math.log(0.7), math.log(0.2), math.log(0.1)], [0.0, 0.0, 0.0]])
LABELS = torch.tensor([0, 2])
VALUES = {  # of the two samples, whose classes have the probabilities 0.7, 0.2, 0.1 and a third each
    "cross_entropy": (-math.log(0.7), -math.log(1 / 3)),
    "focal": (-(0.3**2) * math.log(0.7), -((2 / 3) ** 2) * math.log(1 / 3)),
    "mse": (0.3**2 + 0.2**2 + 0.1**2, (2 / 3) ** 2 + 2 * (1 / 3) ** 2),
}


@pytest.mark.parametrize("loss", VALUES)
def test_value_of_labels_and_of_the_same_as_probabilities(loss: str) -> None:
    expected = pytest.approx(sum(VALUES[loss]) / 2)
    assert class_loss(LOGITS, LABELS, loss, 0.0, 2.0).item() == expected
    assert class_loss(LOGITS, class_probabilities(LABELS, 3), loss, 0.0, 2.0).item() == expected


def test_value_of_probabilities() -> None:
    probabilities = torch.tensor([[0.6, 0.4, 0.0]])
    focal = -(0.6 * 0.3**2 * math.log(0.7) + 0.4 * 0.8**2 * math.log(0.2))
    assert class_loss(LOGITS[:1], probabilities, "focal", 0.0, 2.0).item() == pytest.approx(focal)
    mse = (0.7 - 0.6) ** 2 + (0.2 - 0.4) ** 2 + 0.1**2
    assert class_loss(LOGITS[:1], probabilities, "mse", 0.0, 2.0).item() == pytest.approx(mse)


def test_focal_is_cross_entropy_where_gamma_is_0_also_when_smoothed() -> None:
    for smoothing in (0.0, 0.3):
        one = class_loss(LOGITS, LABELS, "focal", smoothing, 0.0)
        assert one.item() == pytest.approx(class_loss(LOGITS, LABELS, "cross_entropy", smoothing, 0.0).item())


def test_smoothed_mse() -> None:
    wanted = (0.7 - 0.8) ** 2 + (0.2 - 0.1) ** 2 + (0.1 - 0.1) ** 2  # 0.7 of the target, and 0.3 spread over three
    assert class_loss(LOGITS[:1], LABELS[:1], "mse", 0.3, 2.0).item() == pytest.approx(wanted)


def test_focal_has_a_gradient_where_a_class_is_certain() -> None:
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    class_loss(logits, torch.tensor([0]), "focal", 0.1, 0.5).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_l1_is_of_matrices_and_kernels_only() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(4, 5))
    for weight in net.parameters():
        nn.init.constant_(weight, -0.5)
    assert l1_norm(net).item() == 0.5 * (2 * 9 + 20)


@pytest.mark.parametrize(("loss", "expected"), [("mse", 4.0), ("mae", 2.0), ("huber", 1.5)])
def test_regression_losses_count_in_standard_deviations(loss: str, expected: float) -> None:
    outputs, targets, std = torch.tensor([[10.0]]), torch.tensor([[14.0]]), torch.tensor([2.0])
    assert regression_loss(outputs, targets, std, loss).item() == pytest.approx(expected)
