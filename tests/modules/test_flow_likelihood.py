"""Densities under flows whose solution is known."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from leyden.modules import flow_likelihood
from leyden.modules.flow_likelihood import bits_per_dimension, log_density
from leyden.nets.conditional import ConditionalNet
from tests.modules.test_flow import flow

POINTS = torch.linspace(-1, 1, 32).view(2, 1, 4, 4)
CLASSES = torch.zeros(2, 4)


class Linear(ConditionalNet):
    """The velocity A x."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__((1, 4, 4), 4)
        self.matrix = torch.nn.Parameter(matrix)

    def forward(self, x: Tensor, times: Tensor, classes: Tensor) -> Tensor:
        return (x.flatten(1) @ self.matrix.T).view_as(x)


def expected(matrix: Tensor) -> Tensor:
    """A normal distribution: standard normal noise z ends at exp(A) z."""
    transform = torch.matrix_exp(matrix.double())
    return MultivariateNormal(torch.zeros(16).double(), transform @ transform.T).log_prob(POINTS.flatten(1).double())


def test_a_linear_velocity_gives_a_normal_distribution() -> None:
    matrix = 0.3 * torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    module = flow()
    module.net = Linear(matrix)
    with torch.no_grad():
        found = log_density(module, POINTS, CLASSES, torch.Generator())
    assert torch.allclose(found.double(), expected(matrix), atol=0.01)


def test_the_estimate_is_exact_for_a_diagonal_matrix_and_right_on_average_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flow_likelihood, "EXACT_UP_TO", 0)
    module, rng = flow(), torch.Generator().manual_seed(0)
    module.net = Linear(torch.diag(torch.linspace(-0.5, 0.5, 16)))
    assert torch.allclose(log_density(module, POINTS, CLASSES, rng).double(), expected(module.net.matrix), atol=0.01)
    matrix = 0.05 * torch.randn(16, 16, generator=rng)
    module.net = Linear(matrix)
    many = POINTS[:1].expand(2000, -1, -1, -1)
    found = log_density(module, many, torch.zeros(2000, 4), rng)
    assert found.std() > 0.1
    assert found.mean().item() == pytest.approx(expected(matrix)[0].item(), abs=0.05)


def test_bits_per_dimension_of_noise() -> None:
    """Without a velocity, images have the density of standard normal noise."""
    module = flow()
    module.net = Linear(torch.zeros(16, 16))
    pixels = torch.full((3, 1, 4, 4), 200, dtype=torch.uint8)
    found = bits_per_dimension(module, pixels, torch.zeros(3, 4), torch.Generator().manual_seed(0))
    x = 200.5 / 128 - 1
    assert found.mean().item() == pytest.approx((0.5 * x**2 + 0.5 * math.log(2 * math.pi)) / math.log(2) + 7, abs=0.01)
