"""Averages of the weights over the steps of a training."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


@runtime_checkable
class Average(Protocol):
    """Updates averages of weights."""

    def update(self, averages: Sequence[Tensor], currents: Sequence[Tensor], num_steps: int) -> None:
        """Update averages in place after `num_steps` optimizer steps (from 1), without reading from the device."""


class NoAverage:
    """Use the weights as they are trained."""


class EMA:
    """Exponential moving average. The first step copies the weights, see `ema_decay`.

    Args:
        decay: of the average per step, at least 0 and below 1.

    Raises:
        ValueError: `decay` is out of its range.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay: got {decay}, must be at least 0 and below 1")
        self.decay = decay

    def update(self, averages: Sequence[Tensor], currents: Sequence[Tensor], num_steps: int) -> None:
        """Move the averages towards the weights."""
        update_average(averages, currents, ema_decay(num_steps - 1, self.decay))


class Lookahead:
    """Every few steps, a slow copy of the weights moves towards them, and they return to it (Zhang et al., 2019).

    Args:
        every: number of steps from one update to the next, at least 1.
        rate: part of the way that the copy moves, above 0 and at most 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, every: int, rate: float) -> None:
        if every < 1:
            raise ValueError(f"every: got {every}, must be at least 1")
        if not 0 < rate <= 1:
            raise ValueError(f"rate: got {rate}, must be above 0 and at most 1")
        self.every, self.rate = every, rate

    def update(self, averages: Sequence[Tensor], currents: Sequence[Tensor], num_steps: int) -> None:
        """Update the slow copy, and copy it into the weights, if it is time."""
        if num_steps % self.every == 0:
            update_average(averages, currents, 1 - self.rate)
            for average, current in zip(averages, currents, strict=True):
                current.copy_(average)


def ema_decay(num_averaged: int, decay: float) -> float:
    """Return the decay of a moving average after `num_averaged` steps.

    The first step copies the weights. Then the decay is the smaller one of `decay` and (1 + n) / (10 + n). So the first
    weights soon lose their influence.
    """
    return min(decay, (1 + num_averaged) / (10 + num_averaged)) if num_averaged else 0.0


def update_average(averages: Sequence[Tensor], currents: Sequence[Tensor], decay: float) -> None:
    """Set each average to ``decay`` times itself plus ``1 - decay`` times the current value, in place.

    Integers (the number of batches that batch norm has seen) are copied.
    """
    floats = [pair for pair in zip(averages, currents, strict=True) if pair[0].is_floating_point()]
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    update([average for average, _ in floats], [current for _, current in floats], 0)
    for average, current in zip(averages, currents, strict=True):
        if not average.is_floating_point():
            average.copy_(current)
