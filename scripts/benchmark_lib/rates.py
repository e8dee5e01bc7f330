"""What the parts of the benchmark share: both sides of a comparison take turns."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator

from rich.table import Table
from torch import Tensor

Part = tuple[Table, dict[str, float]]  # for reading, and the ratio of Leyden to its rival for --save


def alternate(repeat: int, theirs: Callable[[], float], ours: Callable[[], float]) -> list[tuple[float, float]]:
    """Return `repeat` pairs of rates. Both sides take turns, so that a slow moment of the machine affects both."""
    return [(theirs(), ours()) for _ in range(repeat)]


def feed(batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return the images per second of one pass."""
    began = time.perf_counter()
    num = sum(len(labels) for _, labels in batches)
    return num / (time.perf_counter() - began)


def row(rates: list[tuple[float, float]]) -> Iterator[str]:
    """Yield the median of each side, then the median of the ratios with their range."""
    for side in zip(*rates, strict=True):
        yield f"{statistics.median(side):,.0f}"
    ratios = sorted(ours / theirs for theirs, ours in rates)
    yield f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def median_ratio(rates: list[tuple[float, float]]) -> float:
    return statistics.median(ours / theirs for theirs, ours in rates)
