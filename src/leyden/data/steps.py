"""The steps of one or several time series, and which windows can be cut out of them.

R  steps of all series          N  windows
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from leyden.data.loaders import Batch


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps of all series, one series after another, each in the order of time.

    Args:
        values: float32 (R,), NaN where a value is missing.
        times: int64 (R,), the number of each step's time among all times of all series, from 0.
        follows: bool (R,), whether a step follows the one before it: in the same series, and without a gap.
        names: the names of the series; one empty name for a single series.
        lengths: the number of steps of each series.
    """

    values: Tensor
    times: Tensor
    follows: Tensor
    names: tuple[str, ...]
    lengths: tuple[int, ...]

    @property
    def num_times(self) -> int:
        return int(self.times.max()) + 1

    def starts(self, length: int) -> Tensor:
        """Return where the windows of `length` steps without a gap and a missing value start, int64 (N,)."""
        if len(self.values) < length:
            return torch.zeros(0, dtype=torch.int64)
        runs = (~self.follows).cumsum(0)  # all steps of a window are in one run
        missing = torch.nn.functional.pad(self.values.isnan().cumsum(0), (1, 0))  # missing values before each step
        one_run = runs[length - 1 :] == runs[: len(runs) - length + 1]
        complete = missing[length:] == missing[:-length]
        return (one_run & complete).nonzero()[:, 0]

    def windows(self, starts: Tensor, window: int, horizon: int) -> Batch:
        """Return windows, float32 (N, window, 1), and the steps that follow each, float32 (N, horizon)."""
        found = pick(self.values.unfold(0, window + horizon, 1), starts)  # (N, window + horizon)
        return found[:, :window, None], found[:, window:].contiguous()

    def inside(self, starts: Tensor, length: int) -> Tensor:
        """Return the values of all steps that are in at least one of these windows, each once."""
        ends = torch.zeros(len(self.values) + 1, dtype=torch.int64)
        ends.index_add_(0, starts, torch.ones_like(starts)).index_add_(0, starts + length, -torch.ones_like(starts))
        return self.values[ends.cumsum(0)[:-1] > 0]

    def series(self) -> list["Steps"]:
        """Return each series by itself."""
        parts = [torch.split(tensor, list(self.lengths)) for tensor in (self.values, self.times, self.follows)]
        return [
            Steps(values, times, follows, (name,), (len(values),))
            for name, values, times, follows in zip(self.names, *parts, strict=True)
        ]


def single(values: Tensor) -> Steps:
    """Return one series without gaps; its values are float32 (R,)."""
    follows = torch.ones(len(values), dtype=torch.bool)
    follows[:1] = False
    return Steps(values, torch.arange(len(values)), follows, ("",), (len(values),))


def pick(tensor: Tensor, positions: Tensor) -> Tensor:
    """Return the rows at sorted `positions`: without a copy if they are successive, since windows overlap."""
    if len(positions) and int(positions[-1] - positions[0]) + 1 == len(positions):
        return tensor[int(positions[0]) : int(positions[-1]) + 1]
    return tensor[positions]
