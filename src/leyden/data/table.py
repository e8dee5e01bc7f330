"""A user's own table: one column of a CSV or Parquet file is predicted from the others.

Numbers are standardised with statistics of the training split. Categories become one input each (one-hot), or a code
that the net replaces by a learned vector. A test set without a file of its own, and the validation, are chosen by a
hash of each row. So rows that are added later do not change the split of the others, and equal rows are in the same
split.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from leyden.data import splits
from leyden.data.datamodule import DataFacts, check, content_hash, printable
from leyden.data.loaders import Batch
from leyden.data.scaling import Scaling
from leyden.data.table_columns import category_sizes_of, width_of
from leyden.data.table_file import Key, RawTable, read_raw
from leyden.data.table_inputs import Schema, Statistics, encoded, label_of, measure, spelling, standardiser, target_of
from leyden.data.tables import TableData
from leyden.errors import UserError


@dataclass(kw_only=True, eq=False, repr=False)
class Table(TableData):
    """Table: your own CSV or Parquet file, of which one column is predicted: a class, or a number.

    Args:
        path: the file. The name of a Parquet file ends in .parquet.
        target: the column to predict: its name, or its position from 0.
        header: whether the first line contains the names of the columns. Otherwise they are 0, 1, 2, …
        test_path: a file with the same columns that is the test set. null: the test set is taken from `path`.
        test_fraction: fraction of the rows that is the test set if there is no `test_path`.
        ignore: columns that are not used.
        categorical: columns whose numbers are codes of categories.
        max_categories: columns of texts with more different values are left out, except those in `categorical`, whose
            most frequent values are used.
        categories: what a category becomes. onehot: one input per category. embedded: one input, the code of the
            category, which the net replaces by a learned vector: 1, 2, … in the order of `schema`; 0 for another
            category than these and for a missing one.
        category_sizes: the number of categories of each input, 0 for numbers; empty with onehot.
        schema: feature → its categories, none for numbers. By default they are found in `path`.
        classes: names of the classes; empty if the target is a number. By default they are found in `path`.
        num_classes: number of classes, 0 if the target is a number.
        statistics: fill, low, high, mean and std of each input. null: measured on the training split.
    """

    path: str
    target: Key
    header: bool
    test_path: str | None
    test_fraction: float
    ignore: Sequence[Key]
    categorical: Sequence[Key]
    max_categories: int
    categories: Literal["onehot", "embedded"]
    category_sizes: Sequence[int]
    schema: Schema
    classes: Sequence[str]
    num_classes: int
    statistics: Statistics | None

    def __post_init__(self) -> None:
        check(0 < self.test_fraction < 1, f"test_fraction: got {self.test_fraction}, must be between 0 and 1")
        check(self.max_categories >= 1, f"max_categories: got {self.max_categories}, must be at least 1")
        check(self.num_targets == 1, f"num_targets: got {self.num_targets}, must be 1")
        inputs, sizes = width_of(self.schema, self.categories), category_sizes_of(self.schema, self.categories)
        check(list(self.shape) == [inputs], f"shape: got {list(self.shape)}, must be [{inputs}], as the features give")
        check(
            list(self.category_sizes) == sizes,
            f"category_sizes: got {list(self.category_sizes)}, must be {sizes}, as the features give",
        )
        super().__post_init__()
        self.target_kind = "class" if self.classes else "numbers"  # type: ignore[assignment, misc]  # it depends on the column

    def files(self) -> Sequence[Path]:
        return [Path(path).expanduser() for path in (self.path, self.test_path) if path is not None]

    def class_names(self) -> tuple[str, ...] | None:
        return tuple(self.classes) or None

    def describe(self) -> str:
        """Return a text about the classes and splits, and the columns that are not used."""
        names = self.raw.names
        used = {*self.schema, names[self.raw.position(self.target, "data.target")]}
        unused = [printable(name) for name in names if name not in used]
        return super().describe() + (f"; not used: {', '.join(unused)}" if unused else "")

    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the columns, not of the inputs."""
        return tuple(self.schema)

    def category_names(self) -> dict[str, tuple[str, ...]]:
        return {name: tuple(categories) for name, categories in self.schema.items() if categories}

    def codes(self) -> dict[str, dict[str, int]]:
        if self.categories != "embedded":
            return {}
        named = self.category_names().items()
        return {name: {category: code for code, category in enumerate(found, 1)} for name, found in named}

    def input_names(self) -> tuple[str, ...]:
        """Return the names of the inputs: of numbers and codes the column, otherwise ``column=category``."""
        if self.categories == "embedded":
            return tuple(self.schema)
        named = [[f"{name}={one}" for one in categories] or [name] for name, categories in self.schema.items()]
        return tuple(name for names in named for name in names)

    def target_names(self) -> tuple[str, ...]:
        return (str(self.target),)

    @cached_property
    def raw(self) -> RawTable:
        return read_raw(self.path, self.header)

    @cached_property
    def _ids(self) -> Tensor:
        return splits.identities(["\x1f".join(row).encode() for row in self.raw.rows])

    def prepare_data(self) -> None:
        """Read the files once, so that a mistake in the test set is found before the training."""
        read_raw(self.path, self.header)
        if self.test_path is not None:
            self._encoded(read_raw(self.test_path, self.header, "data.test_path"), "data.test_path")

    def read(self, train: bool) -> Batch:
        if not train and self.test_path is not None:
            return self._encoded(read_raw(self.test_path, self.header, "data.test_path"), "data.test_path")
        inputs, targets = self._encoded(self.raw, "data.path")
        chosen = self._test_mask() != train
        return inputs[chosen], targets[chosen]

    def sample_ids(self) -> Tensor:
        return self._ids[~self._test_mask()]

    def _test_mask(self) -> Tensor:
        """Choose the test rows, bool (N,). Choose none if they have a file of their own."""
        if self.test_path is not None:
            return torch.zeros(len(self._ids), dtype=torch.bool)
        groups = self.strata(self._targets(self.raw, "data.path"))
        return splits.hashed_fraction(self._ids, groups, self.test_fraction, self.seed, "test")

    def strata(self, targets: Tensor) -> Tensor:
        return targets if self.classes else super().strata(targets)

    def count_test(self) -> int:
        if self.test_path is not None:
            return len(read_raw(self.test_path, self.header, "data.test_path").rows)
        return int(self._test_mask().sum())

    def fingerprint(self) -> str:
        """Return a hash of the rows of all files and of the choice of columns."""
        tables = [self.raw]
        if self.test_path is not None:
            tables.append(read_raw(self.test_path, self.header, "data.test_path"))
        content = [(table.names, table.rows) for table in tables]
        return content_hash(dict(self.schema), list(self.classes), self.target, content)

    def _encoded(self, table: RawTable, key: str) -> Batch:
        """Return the rows of a file as inputs, float32 (N, F), NaN where a value is missing, and targets."""
        parts = [
            encoded(table.column(table.position(name, key)), found, self.categories, partial(_place, table, name, key))
            for name, found in self.schema.items()
        ]
        return torch.cat(parts, dim=1), self._targets(table, key)

    def _targets(self, table: RawTable, key: str) -> Tensor:
        position = table.position(self.target, "data.target")
        name = table.names[position]
        found = [self._target(value, table.place(row), name) for row, value in enumerate(table.column(position))]
        return torch.tensor(found) if self.classes else torch.tensor(found, dtype=torch.float32)[:, None]

    def _target(self, value: str, where: str, name: str) -> float:
        """Return a value of the target column as a label or a number."""
        if not value:
            raise UserError(f"data.target: {where} has no value in column {name}. Remove the row")
        return label_of(value, self._labels, where) if self.classes else target_of(value, where)

    @cached_property
    def _labels(self) -> dict[str, int]:
        return {name: label for label, name in enumerate(self.classes)}

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.statistics is None:
            super().setup("fit")
            assert self.train is not None
            self.statistics = measure(self.train[0], self.schema, self.categories, self.clip)

    def measured(self) -> dict[str, Any]:
        return {"statistics": self.statistics}

    def transform(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return the function that fills, clips and standardises inputs (B, F)."""
        assert self.statistics is not None
        return standardiser(self.statistics, self.shape[0], device)

    def facts(self) -> DataFacts:
        facts = super().facts()
        if not self.classes:
            return facts
        assert self.train is not None
        counts = torch.bincount(self.train[1].cpu(), minlength=self.num_classes)
        return DataFacts(classes=self.class_names(), class_counts=tuple(counts.tolist()))

    def fit_scaling(self, scaling: Scaling) -> None:
        """Fit the statistics of the target only: the inputs are standardised by `transform`."""
        assert self.train is not None
        scaling.fit_targets(self.train[1])

    def encode(self, item: Any) -> Tensor:
        """Convert a row to inputs, float32 (F,). A category that is not in `schema` is like a missing one.

        Args:
            item: a mapping of column names to values, or a sequence of the values in the order of the features.
        """
        given = zip(self.ordered(item), self.schema.values(), strict=True)
        values = [spelling(value, found) for value, found in given]
        self.check_complete(values)
        parts = [
            encoded([value], found, self.categories, partial(_row_place, name))
            for value, (name, found) in zip(values, self.schema.items(), strict=True)
        ]
        return torch.cat(parts, dim=1)[0]

    def check_complete(self, values: Iterable[str]) -> None:
        """Raise UserError if a number is missing and missing values are not replaced."""
        for value, (name, found) in zip(values, self.schema.items(), strict=True):
            if not self.impute and not value and not found:
                raise UserError(
                    f"row: {name} is missing, and the run does not replace missing values (data.impute=false)"
                )

    def encode_targets(self, row: Mapping[Any, Any], columns: Sequence[str]) -> Tensor:
        value = self._target(spelling(row[columns[0]], self.classes), "the row", columns[0])
        return torch.tensor(value) if self.classes else torch.tensor([value])


def _place(table: RawTable, name: str, key: str, row: int) -> str:
    return f"{key}: column {name} in {table.place(row)}"


def _row_place(name: str, row: int) -> str:
    return f"row: {name}"
