"""Data sets of feature tables: numbers from which other numbers are predicted."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from leyden.data.datamodule import InMemoryData, check, printable
from leyden.data.loaders import Batch
from leyden.data.scaling import LARGEST, Scaling
from leyden.errors import UserError


@dataclass(kw_only=True, eq=False, repr=False)
class TableData(InMemoryData):
    """A table: float32 features (N, F), NaN where a value is missing, and float32 targets (N, num_targets).

    A subclass implements `read`. The batches contain raw features: the module standardises them with the statistics of
    the training split, see `Scaling`.

    Args:
        num_targets: numbers to predict for each sample.
        impute: whether missing values are filled with the median of their feature. Otherwise they are an error.
        clip: fraction of the training values at each end that count as outliers. A value beyond the remaining range is
            moved to the end of that range. 0: no clipping.
    """

    input_kind = "row"
    target_kind = "numbers"
    features: ClassVar[tuple[str, ...] | None] = None  # names of the columns

    num_targets: int
    impute: bool
    clip: float

    def __post_init__(self) -> None:
        check(len(self.shape) == 1 and self.shape[0] >= 1, f"shape: got {list(self.shape)}, expected [features]")
        check(self.num_targets >= 1, f"num_targets: got {self.num_targets}, must be at least 1")
        check(0 <= self.clip < 0.5, f"clip: got {self.clip}, must be at least 0 and below 0.5")
        super().__post_init__()

    def read_checked(self, train: bool) -> Batch:
        features, targets = self.read(train)
        split = "training" if train else "test"
        if tuple(features.shape[1:]) != self.shape:
            raise UserError(f"data.shape: got {list(self.shape)}, but the {split} set has {features.shape[1]} features")
        missing = int(features.isnan().sum())
        if missing and not self.impute:
            raise UserError(f"data.impute: got false, but {missing} values of the {split} set are missing")
        return features, targets

    def feature_names(self) -> tuple[str, ...] | None:
        """Return the names of the features in their order, if they are known."""
        return self.features

    def columns(self) -> tuple[str, ...]:
        """Return the names of the features, or ``feature 0``, ``feature 1``, … if they are not known."""
        return self.feature_names() or tuple(f"feature {number}" for number in range(self.shape[0]))

    def category_names(self) -> dict[str, tuple[str, ...]]:
        """Return feature → its categories, for features that are no numbers."""
        return {}

    def codes(self) -> dict[str, dict[str, int]]:
        """Return feature → category → its code, for inputs that are codes of categories. 0 is any other category."""
        return {}

    def input_names(self) -> tuple[str, ...] | None:
        """Return the names of the inputs of the net, if they are known: of the features, or of their categories."""
        return self.feature_names()

    def target_names(self) -> tuple[str, ...]:
        """Return the names of the target columns, none if they are not known."""
        return ()

    def encode(self, item: Any) -> Tensor:
        """Convert a row to float32 (F,), NaN where a value is missing.

        Args:
            item: a mapping of feature names to values, or a sequence of the values in the order of the features. A
                value is a number; None and "" are missing.
        """
        names, values = self.columns(), self.ordered(item)
        row = torch.tensor([number(value, name) for value, name in zip(values, names, strict=True)])
        if not self.impute and row.isnan().any():
            name = names[int(row.isnan().int().argmax())]
            raise UserError(f"row: {name} is missing, and the run does not replace missing values (data.impute=false)")
        return row

    def ordered(self, item: Any) -> list[Any]:
        """Return the values of a row in the order of the features, see `encode`."""
        names = self.columns()
        if isinstance(item, Mapping):
            if missing := [name for name in names if name not in item]:
                raise UserError(f"row: column {missing[0]} is missing; the columns are {', '.join(names)}")
            item = [item[name] for name in names]
        if isinstance(item, str | bytes) or not isinstance(item, Iterable):
            raise UserError(f"row: got {type(item).__name__}, must be a mapping or a sequence of {len(names)} values")
        values = list(item)
        if len(values) != len(names):
            raise UserError(f"row: has {len(values)} values, the model needs {len(names)}: {', '.join(names)}")
        return values

    def encode_targets(self, row: Mapping[Any, Any], columns: Sequence[str]) -> Tensor:
        """Convert the values of the target columns of a row to targets, as `read` returns them, without the batch.

        Raises:
            UserError: a value is missing, or does not fit the task.
        """
        values = [number(row[name], name) for name in columns]
        for value, name in zip(values, columns, strict=True):
            if math.isnan(value):
                raise UserError(f"{name} is missing, but every row needs a target")
        return torch.tensor(values)

    def fit_scaling(self, scaling: Scaling) -> None:
        assert self.train is not None
        scaling.fit_inputs(self.train[0], self.clip)
        super().fit_scaling(scaling)


def number(value: Any, name: str) -> float:
    """Return a value of a row as a number; None and "" are NaN.

    Raises:
        UserError: it is not a finite number.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.inf
    if abs(found) > LARGEST:
        raise UserError(f"row: {name} is {printable(str(value))[:100]!r}, must be a number")
    return found


def every_fifth(features: Tensor, targets: Tensor, train: bool) -> Batch:
    """Split a data set without an official split: every fifth sample, in file order, belongs to the test set."""
    chosen = [number for number in range(len(targets)) if (number % 5 != 4) == train]
    return features[chosen], targets[chosen]
