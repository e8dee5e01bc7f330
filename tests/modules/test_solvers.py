"""Solvers of differential equations, on equations whose solution is known."""

import math

import pytest
import torch
from torch import Tensor

from leyden.modules.solvers import Velocity, dopri5, euler, heun

START = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)


def growth(x: Tensor, time: float) -> Tensor:
    """dx/dt = x · cos t, so x = x₀ · exp(sin t)."""
    return x * math.cos(time)


def grid(num: int, end: float = 1.0) -> list[float]:
    return [end * step / num for step in range(num + 1)]


@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (heun, 2)])
def test_half_the_step_divides_the_error_as_the_order_says(solver: Velocity, order: int) -> None:
    exact = START * math.exp(math.sin(1))
    errors = [(solver(growth, START, grid(num)) - exact).abs().max().item() for num in (20, 40)]  # type: ignore[arg-type, call-arg]
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.1)


def test_two_steps_by_hand() -> None:
    assert torch.equal(euler(lambda x, _: x, START, [0, 0.5, 1]), START * 1.5**2)
    assert torch.equal(heun(lambda x, _: x, START, [0, 0.5, 1]), START * 1.625**2)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_the_adaptive_solver_keeps_its_tolerance_and_needs_few_evaluations(tolerance: float) -> None:
    calls = 0

    def counted(x: Tensor, time: float) -> Tensor:
        nonlocal calls
        calls += 1
        return growth(x, time)

    found = dopri5(counted, START, 0.0, 3.0, tolerance)
    assert torch.allclose(found, START * math.exp(math.sin(3)), atol=20 * tolerance, rtol=0)
    assert calls < 40 * (1e-3 / tolerance) ** 0.2


def test_it_also_goes_back() -> None:
    there = dopri5(growth, START, 0.0, 1.0, 1e-9)
    assert torch.allclose(dopri5(growth, there, 1.0, 0.0, 1e-9), START, atol=1e-7)


def test_a_velocity_that_is_not_finite_ends_it() -> None:
    with pytest.raises(ArithmeticError, match="dopri5 needs more than 1000 steps"):
        dopri5(lambda x, time: x / (0 * x), START, 0.0, 1.0, 1e-3)
