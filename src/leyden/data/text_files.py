"""A user's own texts: a file with a column of texts and one of labels, or class folders.

A test set without a file of its own, and the validation, are chosen by a hash of each text. So texts that are added
later do not change the split of the others, and equal texts are in the same split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from leyden.data import splits
from leyden.data.datamodule import check, content_hash, printable
from leyden.data.loaders import Batch
from leyden.data.table_columns import as_number
from leyden.data.table_file import Key
from leyden.data.text_folders import split_folder
from leyden.data.text_labels import labels_in
from leyden.data.text_table import LabelledTexts, read_labelled
from leyden.data.texts import TextData, number_of
from leyden.errors import UserError


@dataclass(kw_only=True, eq=False, repr=False)
class TextFiles(TextData):
    """Texts: your own file of texts and labels, or one folder of .txt files per class.

    Args:
        path: the file (.csv, .tsv, .jsonl, .parquet), or a folder with class folders, or with train and test that
            contain class folders.
        text: the column of the texts: its name, or its position from 0.
        label: the column of the labels: a class, a number, or several labels.
        header: whether the first line of a CSV or TSV file contains the names. Otherwise they are 0, 1, 2, …
        test_path: a file with the same columns, or a folder, that is the test set. null: taken from `path`.
        test_fraction: fraction of the texts that is the test set if there is no other one.
        separator: what separates several labels of a text. null: each text has one label.
        num_targets: 1, if the labels are numbers.
        classes: names of the classes or labels; empty if they are numbers. By default they are found in `path`.
    """

    path: str
    text: Key
    label: Key
    header: bool
    test_path: str | None
    test_fraction: float
    separator: str | None
    num_targets: int
    classes: Sequence[str]

    def __post_init__(self) -> None:
        check(0 < self.test_fraction < 1, f"test_fraction: got {self.test_fraction}, must be between 0 and 1")
        check(self.num_targets == 1, f"num_targets: got {self.num_targets}, must be 1")
        check(self.separator != "", "separator: is empty, must be a text such as ; or null")
        check(
            len(self.classes) == self.num_classes,
            f"classes: got {len(self.classes)} names, but data.num_classes is {self.num_classes}",
        )
        super().__post_init__()
        kind = "numbers" if not self.classes else "class" if self.separator is None else "labels"
        self.target_kind = kind  # type: ignore[assignment, misc]  # it depends on the labels

    def files(self) -> Sequence[Path]:
        return [Path(path).expanduser() for path in (self.path, self.test_path) if path is not None]

    def class_names(self) -> tuple[str, ...] | None:
        return tuple(self.classes) or None

    def columns(self) -> tuple[Key, Key]:
        return self.text, self.label

    def has_header(self) -> bool:
        return self.header

    @cached_property
    def found(self) -> LabelledTexts:
        return read_labelled(self.path, self.header, self.text, self.label)

    @cached_property
    def found_test(self) -> LabelledTexts | None:
        """The texts of a test set of its own, None if it is taken from `path`."""
        if self.test_path is not None:
            return read_labelled(self.test_path, self.header, self.text, self.label, "data.test_path")
        folder = Path(self.path).expanduser()
        if folder.is_dir() and (test := split_folder(folder, "test")) not in (None, folder):
            return read_labelled(str(test), self.header, self.text, self.label, "data.test_path")
        return None

    def prepare_data(self) -> None:
        """Read the labels of the test set, so that a mistake in them is found before the training."""
        if self.found_test is not None:
            self.targets_of(self.found_test, "data.test_path")

    def read_texts(self, train: bool) -> tuple[list[str], Tensor]:
        if not train and self.found_test is not None:
            return list(self.found_test.texts), self.targets_of(self.found_test, "data.test_path")
        chosen = self._test_mask() != train
        texts = [text for text, kept in zip(self.found.texts, chosen.tolist(), strict=True) if kept]
        return texts, self.targets_of(self.found, "data.path")[chosen]

    def stamp(self, train: bool) -> object:
        return self.fingerprint() if train or self.found_test is None else table_hash(self.found_test)

    def fingerprint(self) -> str:
        """Return a hash of the texts and labels of all files and of the choice of columns."""
        tables = [table_hash(one) for one in (self.found, self.found_test) if one is not None]
        return content_hash(list(self.classes), self.separator, tables)

    def sample_ids(self) -> Tensor:
        return self._identities[~self._test_mask()]

    @cached_property
    def _identities(self) -> Tensor:
        return splits.identities([text.encode(errors="surrogatepass") for text in self.found.texts])

    def _test_mask(self) -> Tensor:
        """Choose the test texts, bool (N,). Choose none if they have a file of their own."""
        if self.found_test is not None:
            return torch.zeros(len(self._identities), dtype=torch.bool)
        groups = self.strata(self.targets_of(self.found, "data.path"))
        return splits.hashed_fraction(self._identities, groups, self.test_fraction, self.seed, "test")

    def split(self, inputs: Tensor, targets: Tensor, ids: Tensor | None) -> tuple[Batch, Batch]:
        train, val = super().split(inputs, targets, ids)
        if self.target_kind == "class":
            for label in sorted(set(range(self.num_classes)) - set(train[1].tolist())):
                name = printable(self.classes[label])
                raise UserError(f"data.label: the split leaves no text of class {name} for training; add texts of it")
        return train, val

    def count_test(self) -> int:
        return len(self.found_test.texts) if self.found_test is not None else int(self._test_mask().sum())

    def targets_of(self, found: LabelledTexts, key: str) -> Tensor:
        """Return int64 (N,) classes, int64 (N, num_classes) labels, 0 or 1, or float32 (N, 1) numbers."""
        if not self.classes:
            numbers = [number_in(value, f"{key}: {found.place(row)}") for row, value in enumerate(found.labels)]
            return torch.tensor(numbers, dtype=torch.float32)[:, None]
        if self.separator is None:
            return super().targets_of(found, key)
        numbered = {name: label for label, name in enumerate(self.classes)}
        targets = torch.zeros(len(found.labels), self.num_classes, dtype=torch.int64)
        for row, value in enumerate(found.labels):
            for label in labels_in(value, self.separator):
                targets[row, number_of(label, numbered, f"{key}: {found.place(row)}")] = 1
        return targets

    def check_targets(self, targets: Tensor) -> None:
        if self.classes and self.separator is None:
            super().check_targets(targets)
            return
        width, dtype = (self.num_classes, torch.int64) if self.classes else (1, torch.float32)
        if targets.dtype != dtype or targets.dim() != 2 or targets.shape[1] != width:
            raise ValueError("it has other targets")
        if self.classes and ((targets < 0) | (targets > 1)).any():
            raise ValueError("it has other labels")


def number_in(text: str, where: str) -> float:
    """Return the number in a text. Raise UserError if there is none; the message begins with `where`."""
    number = as_number(text)
    if number is None or abs(number) > torch.finfo(torch.float32).max:
        raise UserError(f"{where} has the label {printable(text)[:100]!r}, must be a number")
    return number


def table_hash(found: LabelledTexts) -> str:
    """Return a hash of texts and labels."""
    return content_hash(found.texts, found.labels)
