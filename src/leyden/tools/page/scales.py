"""Scales of a plot: from values to positions, with round numbers as ticks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LOG_RATIO = 100  # positive values whose largest is more than this times the smallest have a logarithmic scale


@dataclass(frozen=True)
class Scale:
    """A scale from 0 to 1.

    Args:
        position: value → position, 0 at the start of the axis and 1 at its end.
        ticks: (position, label) of each tick.
    """

    position: Callable[[float], float]
    ticks: tuple[tuple[float, str], ...]


def numeric(values: Sequence[float], *, log: bool | None = None, whole: bool = False, padding: float = 0.0) -> Scale:
    """Return the scale of numbers.

    Args:
        values: finite numbers, at least one.
        log: whether it is logarithmic; by default it is if the values are positive and differ by `LOG_RATIO`.
        whole: whether the ticks are whole numbers.
        padding: free space at both ends, as a fraction of the axis.
    """
    low, high = min(values), max(values)
    if log is None:
        log = low > 0 and high / low > LOG_RATIO
    low, high = (math.log10(low), math.log10(high)) if log else (low, high)
    if not high > low:
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    free = padding * (high - low)
    low, high = low - free, high + free

    def position(value: float) -> float:
        at = math.log10(value) if log else value
        return (at / 2 - low / 2) / (high / 2 - low / 2)  # halves: the difference of two large numbers can be infinite

    numbers = log_ticks(low, high) if log else round_ticks(low, high, whole=whole)
    return Scale(position, tuple((position(one), short(one)) for one in numbers))


def categories(names: Sequence[str]) -> Scale:
    """Return the scale of `names`, evenly spaced. `position` takes the index of a name."""
    gap = 1 / max(len(names) - 1, 1)
    middle = 0.5 if len(names) == 1 else 0.0
    return Scale(lambda index: middle + index * gap, tuple((middle + i * gap, name) for i, name in enumerate(names)))


def round_ticks(low: float, high: float, *, whole: bool = False, count: int = 5) -> list[float]:
    """Return about `count` round numbers from `low` to `high`."""
    rough = (high / count) - (low / count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if rough <= factor * power * (1 + 1e-9))
    step = max(step, 1.0) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [round((first + index) * step, 12) for index in range(math.floor(high / step + 1e-9) - first + 1)][:20]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten from 10^`low` to 10^`high`; with fewer than two of them also their multiples by 2 and 5."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    skip = max(1, len(powers) // 6)
    factors = (1,) if len([one for one in powers if low <= one <= high]) > 1 else (1, 2, 5)
    numbers = [factor * 10.0**power for power in powers[::skip] for factor in factors]
    return [one for one in numbers if low - 1e-9 <= math.log10(one) <= high + 1e-9]


def short(value: float) -> str:
    """Return a label such as ``0.25``, ``2,000`` or ``1e-05``."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.0e}" if math.log10(abs(value)).is_integer() else f"{value:.3g}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.6g}"
