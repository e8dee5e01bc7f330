"""The noise that a privacy budget needs."""

import math

import pytest
from torch import tensor
from torch.distributions import Normal

from leyden.config.builders import section
from leyden.config.compose import compose
from leyden.config.instantiate import instantiate
from leyden.errors import UserError
from leyden.optim.privacy import DPSGD


def settings(epsilon: float = 3.0, delta: float = 1e-5) -> DPSGD:
    return DPSGD(epsilon, delta, max_grad_norm=1.0, chunk_size=8, secure=False)


def exact_delta(epsilon: float, deviation: float) -> float:
    """The delta of one step without sampling (Balle and Wang, 2018, theorem 8)."""
    left = 1 / (2 * deviation) - epsilon * deviation
    right = -1 / (2 * deviation) - epsilon * deviation
    below = Normal(0.0, 1.0).cdf(tensor([left, right], dtype=tensor(0.0).double().dtype)).tolist()
    return float(below[0] - math.exp(epsilon) * below[1])


def test_the_spent_epsilon_is_an_upper_bound_of_the_exact_one() -> None:
    spent = settings().spent(2.0, 1.0, 1)
    assert exact_delta(spent, 2.0) < 1e-5 < exact_delta(0.8 * spent, 2.0)


def test_steps_without_sampling_add_up_like_less_noise() -> None:
    assert settings().spent(4.0, 1.0, 4) == pytest.approx(settings().spent(2.0, 1.0, 1))
    assert settings().spent(4.0, 1.0, 0) == 0


@pytest.mark.parametrize("epsilon", [0.1, 3.0])
def test_the_noise_just_keeps_the_budget(epsilon: float) -> None:
    chosen = settings(epsilon)
    noise = chosen.noise_multiplier(0.02, 500)
    assert 0.999 * epsilon <= chosen.spent(noise, 0.02, 500) <= epsilon


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epsilon=0", "privacy.epsilon: got 0, must be above 0; without a guarantee, use privacy=none"),
        ("epsilon=-1.5", "privacy.epsilon: got -1.5, must be above 0"),
        ("delta=1", "privacy.delta: got 1, must be above 0 and below 1"),
        ("max_grad_norm=0", "privacy.max_grad_norm: got 0, must be above 0"),
        ("chunk_size=0", "privacy.chunk_size: got 0, must be at least 1"),
    ],
)
def test_values_out_of_range(override: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        instantiate(section(compose("privacy=dp", f"privacy.{override}"), "privacy"), "privacy")
    assert str(error.value).startswith(message)
