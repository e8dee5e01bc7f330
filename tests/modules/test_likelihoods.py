"""Likelihoods of pixels against values worked out by hand."""

import math

import pytest
import torch
from torch import nn

from leyden.modules.likelihoods import Bernoulli, DiscretisedLogistic


def test_a_coin_costs_log_2_nats_a_pixel() -> None:
    pixels = (torch.rand(5, 1, 4, 4) < 0.5).float()
    assert Bernoulli().nll(torch.zeros_like(pixels), pixels).tolist() == pytest.approx([16 * math.log(2)] * 5)


def test_binarised_pixels_are_1_as_often_as_they_are_light() -> None:
    pixels = torch.tensor([0.0, 0.25, 1.0]).view(1, 3, 1, 1).expand(20_000, -1, -1, -1)
    drawn = Bernoulli().targets(pixels, torch.Generator().manual_seed(0))
    assert drawn.unique().tolist() == [0, 1]
    assert drawn.mean((0, 2, 3)).tolist() == pytest.approx([0, 0.25, 1], abs=0.01)


@pytest.mark.parametrize("logit", [-6.0, 0.3, 8.0])
@pytest.mark.parametrize("log_scale", [-7.0, -1.0])
def test_the_likelihoods_of_all_levels_sum_to_one(logit: float, log_scale: float) -> None:
    levels = torch.arange(256, dtype=torch.float64).view(-1, 1, 1, 1) / 255
    likelihood = DiscretisedLogistic(1).double()
    nn.init.constant_(likelihood.log_scale, log_scale)
    nll = likelihood.nll(torch.full_like(levels, logit), levels)
    assert (-nll).exp().sum().item() == pytest.approx(1, abs=1e-9)
