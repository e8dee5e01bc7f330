"""Find out what the labels of a user's texts are: classes, sets of labels or numbers. Does not import torch."""

from pathlib import Path

from leyden.data.table_columns import MAX_CLASSES, as_number
from leyden.data.table_file import Key
from leyden.data.text_folders import folder_classes
from leyden.data.text_table import read_labelled
from leyden.errors import UserError


def text_task(path: str, header: bool, text: Key, label: Key, separator: str | None) -> str:
    """Return the task that the labels imply.

    multilabel with a separator; regression if the labels are numbers, but not at most `MAX_CLASSES` different whole
    numbers; otherwise classification.

    Raises:
        UserError: the file cannot be read, or has no such columns.
    """
    if separator is not None:
        return "multilabel"
    if Path(path).expanduser().is_dir():
        return "classification"
    values = set(read_labelled(path, header, text, label).labels)
    numbers = [as_number(value) for value in values]
    if None in numbers:
        return "classification"
    whole = all(number is not None and number.is_integer() for number in numbers)
    return "classification" if whole and len(values) <= MAX_CLASSES else "regression"


def text_classes(path: str, header: bool, text: Key, label: Key, separator: str | None, task: str) -> list[str]:
    """Return the classes or labels in their order; none if `task` is neither classification nor multilabel.

    Raises:
        UserError: there are fewer than two classes, or no label; or the file cannot be read.
    """
    if task not in ("classification", "multilabel"):
        return []
    folder = Path(path).expanduser()
    if folder.is_dir() and task == "classification":
        return folder_classes(folder)
    found = read_labelled(path, header, text, label)
    if task == "multilabel":
        values = {one for labels in found.labels for one in labels_in(labels, separator)}
    else:
        values = set(found.labels)
    if len(values) < 2:
        raise UserError(f"data.label: {found.path} has {len(values)} different labels, at least 2 are needed")
    return sorted(values, key=lambda value: (as_number(value) is None, as_number(value) or 0.0, value))


def labels_in(text: str, separator: str | None) -> list[str]:
    """Return the labels in the text of a column, without spaces around them."""
    parts = [text] if separator is None else text.split(separator)
    return [part.strip() for part in parts if part.strip()]
