"""Time series, cut into windows: known steps and the next steps, which are to be predicted.

A series is generated (a sum of seasons, a trend and noise) or read from a column of a table. A table with a column of
times can contain several series. Training, validation and test follow each other in time: all steps that are predicted
in validation come after the last step that training has used, and those of the test after both. With several series,
these are the same points in time for all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from leyden.data.datamodule import InMemoryData, check, content_hash, printable
from leyden.data.file_access import check_memory, check_regular
from leyden.data.loaders import Batch
from leyden.data.scaling import Scaling
from leyden.data.series_file import MAX_BYTES, read_column, read_steps
from leyden.data.steps import Steps, pick, single
from leyden.errors import UserError
from leyden.seeding import generator

SHOWN = 5  # names of series


@dataclass(kw_only=True, eq=False, repr=False)
class Series(InMemoryData):
    """Series: windows of time series, generated or from a file, and the steps that follow each window.

    Inputs are float32 (N, window, 1), targets float32 (N, horizon), both in the units of the series.

    Args:
        window: number of known steps.
        horizon: number of steps to predict.
        path: a CSV file whose first line contains column names, or a Parquet file. null: a generated series.
        column: name of the column, which contains one number per line, in order of time.
        time: name of the column with the time of each row: a date, a date with a time, or a number. The rows may have
            any order. null: the rows are in the order of time.
        group: name of the column with the name of the series that a row belongs to. null: there is one series.
        gaps: what a missing time means, with `time`. skip: windows with a gap are not used; a gap is a distance of at
            least 1.5 times the most common one. join: rows that follow each other are successive steps.
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
    time: str | None
    group: str | None
    gaps: Literal["skip", "join"]
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
        check(self.time is None or self.path is not None, f"time: got {self.time}, but path is null")
        check(self.group is None or self.time is not None, f"group: got {self.group}, but time is null")
        check(self.gaps == "skip" or self.time is not None, f"gaps: got {self.gaps}, but time is null")
        check_memory(16 * self.num_steps * (len(self.periods) + 4), "num_steps", self.num_steps)
        super().__post_init__()
        self._num_test: int | None = None

    def files(self) -> Sequence[Path]:
        return [Path(self.path)] if self.path else []

    def prepare_data(self) -> None:
        for path in self.files():
            check_regular(path, "data.path", MAX_BYTES)

    def read(self, train: bool) -> Batch:
        starts, of_test = self._starts(train), self._starts(train=False)  # a test set without windows is found early
        self._num_test = len(of_test)
        return self.steps.windows(starts, self.window, self.horizon)

    def _starts(self, train: bool) -> Tensor:
        """Return where the windows start that are completely before the test set, or whose targets are in it."""
        steps, length = self.steps, self.window + self.horizon
        num, first = steps.num_times, self._first_test_time()
        least = length + self.horizon  # a window to train with and one to validate with
        if first < least or num - first < self.horizon:
            raise UserError(
                f"data.window: {self.window} known steps and {self.horizon} to predict are too many for a series of "
                f"{num} steps, of which the last {num - first} are the test set"
            )
        starts = steps.starts(length)
        in_split = self._last(starts) < first if train else self._first(starts) >= first
        if not in_split.any():
            raise UserError(
                f"data.window: no series has {length} successive steps {'before' if train else 'in'} the test set "
                "(window and horizon), since windows with a gap in time or a missing value are not used; with "
                "data.gaps=join, rows that follow each other are successive steps"
            )
        return starts[in_split]

    def _first_test_time(self) -> int:
        """Return the number of the first time that the test predicts."""
        num = self.steps.num_times
        return num - round(num * self.test_fraction)

    def _first(self, starts: Tensor) -> Tensor:
        """Return the time of the first step that each window predicts, (N,)."""
        return self.steps.times[starts + self.window]

    def _last(self, starts: Tensor) -> Tensor:
        """Return the time of the last step that each window predicts, (N,)."""
        return self.steps.times[starts + self.window + self.horizon - 1]

    def sample_ids(self) -> Tensor:
        """Return where each training window starts, which decides about its split."""
        return self._starts(train=True)

    def count_test(self) -> int | None:
        return self._num_test

    def fingerprint(self) -> str:
        """Return a hash of the numbers of all series, and of their times and names if they have any."""
        steps = self.steps
        named = [steps.times.numpy().tobytes(), steps.follows.numpy().tobytes(), steps.names, steps.lengths]
        return content_hash(steps.values.numpy().tobytes(), *(named if self.time else []))

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

    @cached_property
    def steps(self) -> Steps:
        """The steps of all series, which are read when they are first used."""
        return single(self._generated()) if self.path is None else self.read_file(Path(self.path), "data.path")

    def read_file(self, path: Path, key: str) -> Steps:
        """Return the steps in a file with the columns of this data set; `key` is named in an error."""
        if self.time is None:
            return single(read_column(path, self.column, key))
        return read_steps(path, self.column, self.time, self.group, joined=self.gaps == "join", key=key)

    def _generated(self) -> Tensor:
        rng = generator(self.seed, "series")
        time = torch.arange(self.num_steps, dtype=torch.float64)
        turns = time[:, None] / torch.tensor(self.periods) + torch.rand(len(self.periods), generator=rng)
        seasons = torch.sin(2 * math.pi * turns).sum(1)  # (num_steps, periods) → (num_steps,)
        noise = self.noise * torch.randn(self.num_steps, generator=rng)
        return (seasons + self.trend * time + noise).float()

    def split(self, inputs: Tensor, targets: Tensor, ids: Tensor | None) -> tuple[Batch, Batch]:
        """Use the last windows for validation. Leave out training windows that overlap with their targets.

        Args:
            inputs, targets: the windows before the test set, and what follows each.
            ids: where they start.
        """
        assert ids is not None
        num_starts = self._first_test_time() - self.window - self.horizon + 1  # of windows of a series without gaps
        begin = num_starts - max(1, round(num_starts * self.val_fraction)) + self.window  # first time to validate
        in_val, in_train = self._first(ids) >= begin, self._last(ids) < begin
        if not in_val.any() or not in_train.any():
            which = "training" if in_val.any() else "validation"
            raise UserError(
                f"data.val_fraction: {self.val_fraction} of {len(targets)} windows leaves none for {which}, because "
                f"windows that overlap with the validation are not used"
            )
        kept = self._latest(ids, torch.ones_like(in_train) if self.train_on_all else in_train)
        self._training_steps = self.steps.inside(ids[kept], self.window + self.horizon)
        val = in_val.nonzero()[:, 0]
        return (pick(inputs, kept), pick(targets, kept)), (pick(inputs, val), pick(targets, val))

    def _latest(self, starts: Tensor, chosen: Tensor) -> Tensor:
        """Return the positions of the chosen windows, without those that `limit` leaves out: the earliest ones."""
        positions = chosen.nonzero()[:, 0]
        by_time = positions[self._last(starts[positions]).argsort(stable=True)]
        return by_time[len(by_time) - max(1, round(len(by_time) * self.limit)) :].sort().values

    def fit_scaling(self, scaling: Scaling) -> None:
        """Inputs and targets are steps of the same series, so they share the statistics of the training split."""
        scaling.fit_inputs(self._training_steps[:, None])
        scaling.fit_targets(self._training_steps[:, None])

    def describe(self) -> str:
        """Return a text about the splits, the number of series, and those that are too short."""
        length = self.window + self.horizon
        short = [one.names[0] for one in self.steps.series() if not len(one.starts(length))]
        listed = ", ".join([*map(printable, short[:SHOWN]), *(["…"] if len(short) > SHOWN else [])])
        parts = [super().describe()]
        parts += [f"{len(self.steps.names)} series"] if self.group else []
        parts += [f"{len(short)} without {length} successive steps ({listed})"] if short else []
        return "; ".join(parts)
