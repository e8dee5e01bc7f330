"""A time series, cut into windows: known steps and the next steps, which are to be predicted.

The series is generated (a sum of seasons, a trend and noise) or read from a column of a CSV file. Training, validation
and test follow each other in time: all steps that are predicted in validation come after the last step that training
has used, and those of the test after both.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from leyden.data.datamodule import InMemoryData, check
from leyden.data.loaders import Batch
from leyden.data.scaling import Scaling
from leyden.errors import UserError
from leyden.seeding import generator


@dataclass(kw_only=True, eq=False, repr=False)
class Series(InMemoryData):
    """Series: windows of a time series, generated or from a CSV file, and the steps that follow each window.

    Inputs are float32 (N, window, 1), targets float32 (N, horizon), both in the units of the series.

    Args:
        window: number of known steps.
        horizon: number of steps to predict.
        path: a CSV file whose first line contains column names. null: a generated series.
        column: name of the column, which contains one number per line, in order of time.
        num_steps: length of a generated series.
        periods: lengths of its seasons, in steps. Each season is a sine of amplitude 1.
        trend: its rise per step.
        noise: standard deviation of its noise.
        test_fraction: fraction of the series, at its end, that is the test set.
        val_fraction: fraction of the windows before the test set, at their end, that is used for validation.
        limit: fraction of the training windows to use, the last ones.
    """

    num_folds: int = field(default=0, init=False)  # the splits follow each other in time, so there are no folds
    fold: int = field(default=0, init=False)
    window: int
    horizon: int
    path: str | None
    column: str | None
    num_steps: int
    periods: Sequence[int]
    trend: float
    noise: float
    test_fraction: float

    def __post_init__(self) -> None:
        check(self.window >= 1, f"window: got {self.window}, must be at least 1")
        check(self.horizon >= 1, f"horizon: got {self.horizon}, must be at least 1")
        check(all(period > 0 for period in self.periods), f"periods: got {list(self.periods)}, each must be at least 1")
        check(self.noise >= 0, f"noise: got {self.noise}, must not be negative")
        check(0 < self.test_fraction < 1, f"test_fraction: got {self.test_fraction}, must be between 0 and 1")
        super().__post_init__()

    def files(self) -> Sequence[Path]:
        return [Path(self.path)] if self.path else []

    def prepare_data(self) -> None:
        for path in self.files():
            if not path.is_file():
                raise UserError(f"data.path: there is no file {path}")

    def read(self, train: bool) -> Batch:
        values = read_column(Path(self.path), self.column) if self.path else self._generated()
        start = len(values) - round(len(values) * self.test_fraction)  # the first step to predict in test
        least = self.window + 2 * self.horizon  # a window to train with and one to validate with
        if start < least or len(values) - start < self.horizon:
            raise UserError(
                f"data.window: {self.window} known steps and {self.horizon} to predict are too many for a series of "
                f"{len(values)} steps, of which the last {len(values) - start} are the test set"
            )
        steps = values[:start] if train else values[start - self.window :]
        windows = steps.unfold(0, self.window + self.horizon, 1)  # (N, window + horizon), a view of the series
        return windows[:, : self.window, None], windows[:, self.window :].contiguous()

    def _generated(self) -> Tensor:
        rng = generator(self.seed, "series")
        time = torch.arange(self.num_steps, dtype=torch.float64)
        turns = time[:, None] / torch.tensor(self.periods) + torch.rand(len(self.periods), generator=rng)
        seasons = torch.sin(2 * math.pi * turns).sum(1)  # (num_steps, periods) → (num_steps,)
        noise = self.noise * torch.randn(self.num_steps, generator=rng)
        return (seasons + self.trend * time + noise).float()

    def split(self, inputs: Tensor, targets: Tensor) -> tuple[Batch, Batch]:
        """Use the last windows for validation. Leave out the windows that overlap with the first of their targets."""
        num = max(1, round(len(targets) * self.val_fraction))
        last = len(targets) - num - (self.horizon - 1)
        first = last - max(1, round(last * self.limit))
        return (inputs[first:last], targets[first:last]), (inputs[-num:], targets[-num:])

    def fit_scaling(self, scaling: Scaling) -> None:
        """Inputs and targets are steps of one series, so they share the statistics of the training split."""
        assert self.train is not None
        steps = torch.cat([self.train[0][:, 0], self.train[0][-1, 1:], self.train[1][-1, :, None]])  # each step once
        scaling.fit_inputs(steps)
        scaling.fit_targets(steps)


def read_column(path: Path, column: str | None) -> Tensor:
    """Read a column of a CSV file whose first line contains column names, float32 (N,).

    A file with one column needs no `column`.

    Raises:
        UserError: there is no such column, or a value in it is not a number.
    """
    with path.open(newline="") as file:
        rows = csv.reader(file)
        names = next(rows, [])
        if column is None and len(names) == 1:
            column = names[0]
        if column not in names:
            raise UserError(f"data.column: got {column}, {path} has {', '.join(names) or 'no columns'}")
        position = names.index(column)
        values = []
        for row in rows:
            values.append(_number(row[position] if position < len(row) else "", f"line {rows.line_num} of {path}"))
    return torch.tensor(values)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"data.column: {text!r} in {where} is not a number")
    return value
