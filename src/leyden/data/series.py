"""A series in time, cut into windows: what came before, and the next steps that are to be told from it.

Generated (a sum of seasons, a trend and noise), or a column of a CSV file. Training, validation and test follow each
other in time: what is to be predicted in validation comes after all that training has seen, and test after both.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leyden.data.datamodule import InMemoryData, check
from leyden.data.loaders import Batch
from leyden.data.scaling import Scaling
from leyden.errors import UserError
from leyden.seeding import generator


class Series(InMemoryData):
    """float32 windows (N, window, 1) with the steps that follow, float32 (N, horizon), in the series' own units.

    Args: as `InMemoryData`, without folds, and

    window: steps that are known.
    horizon: steps to predict.
    path: a CSV file with a line of column names; null for a generated series.
    column: of the file, a number in each line, in the order of time.
    num_steps: of a generated series.
    periods: of its seasons, in steps; each season is a sine of amplitude 1.
    trend: rise per step.
    noise: standard deviation.
    test_fraction: the share of the series, at its end, that is test; `val_fraction` is of what comes before.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        window: int,
        horizon: int,
        path: str | None = None,
        column: str | None = None,
        num_steps: int = 5000,
        periods: Sequence[int] = (24, 168),
        trend: float = 0.001,
        noise: float = 0.3,
        test_fraction: float = 0.2,
        **kwargs: Any,
    ) -> None:
        check(window >= 1, f"window: got {window}, must be at least 1")
        check(horizon >= 1, f"horizon: got {horizon}, must be at least 1")
        check(all(period > 0 for period in periods), f"periods: got {list(periods)}, each must be at least 1")
        check(noise >= 0, f"noise: got {noise}, must not be negative")
        check(0 < test_fraction < 1, f"test_fraction: got {test_fraction}, must be between 0 and 1")
        super().__init__(**kwargs)
        self.window, self.horizon, self.test_fraction = window, horizon, test_fraction
        self.path, self.column = Path(path) if path else None, column
        self.num_steps, self.periods, self.trend, self.noise = num_steps, periods, trend, noise

    def files(self) -> Sequence[Path]:
        return [self.path] if self.path else []

    def prepare_data(self) -> None:
        if self.path and not self.path.is_file():
            raise UserError(f"data.path: there is no file {self.path}")

    def read(self, train: bool) -> Batch:
        values = read_column(self.path, self.column) if self.path else self._generated()
        start = len(values) - round(len(values) * self.test_fraction)  # the first step to predict in test
        least = self.window + 2 * self.horizon  # a window to train with and one to validate with
        if start < least or len(values) - start < self.horizon:
            raise UserError(
                f"data.window: {self.window} steps and {self.horizon} to predict are too many for a series of "
                f"{len(values)}, of which the last {len(values) - start} are for the test"
            )
        part = values[:start] if train else values[start - self.window :]
        windows = part.unfold(0, self.window + self.horizon, 1)  # (N, window + horizon), a view of the series
        return windows[:, : self.window, None], windows[:, self.window :].contiguous()

    def _generated(self) -> Tensor:
        rng = generator(self.seed, "series")
        time = torch.arange(self.num_steps, dtype=torch.float64)
        turns = time[:, None] / torch.tensor(self.periods) + torch.rand(len(self.periods), generator=rng)
        seasons = torch.sin(2 * math.pi * turns).sum(1)  # (num_steps, periods) → (num_steps,)
        noise = self.noise * torch.randn(self.num_steps, generator=rng)
        return (seasons + self.trend * time + noise).float()

    def split(self, inputs: Tensor, targets: Tensor) -> tuple[Batch, Batch]:
        """The last windows validate. The ones whose targets reach into the first of those are left out."""
        num = max(1, round(len(targets) * self.val_fraction))
        last = len(targets) - num - (self.horizon - 1)
        first = last - max(1, round(last * self.limit))
        return (inputs[first:last], targets[first:last]), (inputs[-num:], targets[-num:])

    def fit_scaling(self, scaling: Scaling) -> None:
        """Inputs and targets are steps of one series, so they share the statistics of the training part."""
        assert self.train is not None
        steps = torch.cat([self.train[0][:, 0], self.train[0][-1, 1:], self.train[1][-1, :, None]])  # each step once
        scaling.fit_inputs(steps)
        scaling.fit_targets(steps)


def read_column(path: Path, column: str | None) -> Tensor:
    """float32 (N,): the numbers in a column of a CSV file with a line of names; the only column, if it has one.

    Raises:
        UserError: there is no such column, or something in it is no number.
    """
    with path.open(newline="") as file:
        rows = csv.reader(file)
        names = next(rows, [])
        if column is None and len(names) == 1:
            column = names[0]
        if column not in names:
            raise UserError(f"data.column: got {column}, {path} has {', '.join(names) or 'no columns'}")
        place = names.index(column)
        values = []
        for row in rows:
            values.append(_number(row[place] if place < len(row) else "", f"line {rows.line_num} of {path}"))
    return torch.tensor(values)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"data.column: {text!r} in {where} is not a number")
    return value
