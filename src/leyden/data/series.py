"""A time series, cut into windows: known steps and the next steps, which are to be predicted.

The series is generated (a sum of seasons, a trend and noise) or read from a column of a CSV file. Training, validation
and test follow each other in time: all steps that are predicted in validation come after the last step that training
has used, and those of the test after both.
"""

import csv
import io
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leyden.data.datamodule import InMemoryData, check, content_hash, printable
from leyden.data.file_access import check_memory, check_regular, read_text
from leyden.data.loaders import Batch
from leyden.data.scaling import LARGEST, Scaling
from leyden.errors import UserError
from leyden.seeding import generator

MAX_BYTES = 200_000_000  # of a CSV file
MAX_LISTED = 500  # characters of a file that an error shows


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
        limit: fraction of the training windows to use. The last windows are used.
    """

    input_kind = "series"
    target_kind = "numbers"

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
        check(self.num_steps >= 1, f"num_steps: got {self.num_steps}, must be at least 1")
        expected = [self.window, 1]
        check(list(self.shape) == expected, f"shape: got {list(self.shape)}, must be [data.window, 1], here {expected}")
        check_memory(16 * self.num_steps * (len(self.periods) + 4), "num_steps", self.num_steps)
        super().__post_init__()
        self._num_test: int | None = None

    def files(self) -> Sequence[Path]:
        return [Path(self.path)] if self.path else []

    def prepare_data(self) -> None:
        for path in self.files():
            check_regular(path, "data.path", MAX_BYTES)

    def read(self, train: bool) -> Batch:
        values = self._values()
        start = len(values) - round(len(values) * self.test_fraction)  # the first step to predict in test
        least = self.window + 2 * self.horizon  # a window to train with and one to validate with
        if start < least or len(values) - start < self.horizon:
            raise UserError(
                f"data.window: {self.window} known steps and {self.horizon} to predict are too many for a series of "
                f"{len(values)} steps, of which the last {len(values) - start} are the test set"
            )
        self._num_test = len(values) - start - self.horizon + 1
        steps = values[:start] if train else values[start - self.window :]
        windows = steps.unfold(0, self.window + self.horizon, 1)  # (N, window + horizon), a view of the series
        return windows[:, : self.window, None], windows[:, self.window :].contiguous()

    def count_test(self) -> int | None:
        return self._num_test

    def fingerprint(self) -> str:
        """Return a hash of the numbers of the series."""
        return content_hash(self._values().numpy().tobytes())

    def encode(self, item: Any) -> Tensor:
        """Convert the past steps of a series, at least `window` numbers, to a window, float32 (window, 1)."""
        try:
            steps = torch.as_tensor(item, dtype=torch.float32).flatten()
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"series: got {type(item).__name__}, must be a sequence of numbers") from error
        if len(steps) < self.window:
            raise UserError(f"series: has {len(steps)} steps, the model needs the last {self.window}")
        if not steps[-self.window :].isfinite().all():
            raise UserError(f"series: one of its last {self.window} steps is not a finite number")
        return steps[-self.window :, None]

    def _values(self) -> Tensor:
        return read_column(Path(self.path), self.column) if self.path else self._generated()

    def _generated(self) -> Tensor:
        rng = generator(self.seed, "series")
        time = torch.arange(self.num_steps, dtype=torch.float64)
        turns = time[:, None] / torch.tensor(self.periods) + torch.rand(len(self.periods), generator=rng)
        seasons = torch.sin(2 * math.pi * turns).sum(1)  # (num_steps, periods) → (num_steps,)
        noise = self.noise * torch.randn(self.num_steps, generator=rng)
        return (seasons + self.trend * time + noise).float()

    def split(self, inputs: Tensor, targets: Tensor, ids: Tensor | None) -> tuple[Batch, Batch]:
        """Use the last windows for validation. Leave out training windows that overlap with their targets."""
        num = max(1, round(len(targets) * self.val_fraction))
        last = len(targets) - num - (self.horizon - 1)
        if last < 1:
            raise UserError(
                f"data.val_fraction: {self.val_fraction} of {len(targets)} windows leaves none for training, because "
                f"windows that overlap with the validation are not used"
            )
        if self.train_on_all:
            last = len(targets)
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

    The file is UTF-8, UTF-16 with a byte order mark, or Latin-1. A file with one column needs no `column`.

    Raises:
        UserError: the file does not have this format, there is no such column, or a value in it is not a number.
    """
    rows = csv.reader(io.StringIO(read_text(path, "data.path", MAX_BYTES), newline=""))
    values, blank = array("d"), 0  # number of the last blank line
    try:
        position = _position(next(rows, []), column, path)
        for row in rows:
            if not row:
                blank = rows.line_num
            elif blank:  # only the last lines of a file may be blank
                raise UserError(f"data.path: line {blank} of {path} is blank, but a step may not be missing")
            else:
                text = row[position] if position < len(row) else ""
                values.append(_number(text, f"line {rows.line_num} of {path}"))
    except csv.Error as error:
        raise UserError(f"data.path: line {rows.line_num} of {path} is not CSV ({error})") from error
    return torch.tensor(values, dtype=torch.float32)


def _position(names: Sequence[str], column: str | None, path: Path) -> int:
    if any("\0" in name for name in names):
        raise UserError(f"data.path: {path} contains NUL characters; save it as CSV in UTF-8")
    if column is None and len(names) == 1:
        return 0
    if not names:
        raise UserError(f"data.path: {path} is empty")
    listed = ", ".join(printable(name) for name in names)[:MAX_LISTED]
    if column is None:
        raise UserError(f"data.column: {path} has several columns ({listed}), but data.column is null")
    if column not in names:
        raise UserError(f"data.column: {path} has no column {printable(str(column))}; its columns are {listed}")
    return names.index(column)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise UserError(f"data.column: {text[:MAX_LISTED]!r} in {where} is not a number")
    return value
