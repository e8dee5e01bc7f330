"""The texts that a command names: a text itself, a text file, the rows of a table, or labelled texts."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from leyden.data.file_access import read_utf8
from leyden.data.text_table import TABLES, LabelledTexts, column_of_texts, read_labelled
from leyden.data.texts import TextData
from leyden.data.translation import Translation
from leyden.errors import UserError
from leyden.tools.csv_inputs import Input


def text_inputs(argument: str, data: TextData) -> Iterator[Input]:
    """Yield what an argument names: all .txt files in a folder, the rows of a table, a text file, or the text itself.

    Of a text file, a run on sentence pairs gets each line.

    Args:
        argument: the argument.
        data: the data set of the run, which has the column of the texts.
    """
    path = Path(argument).expanduser()
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError):  # too long for the name of a file, or a NUL character
        is_file = is_folder = False
    if is_folder:
        found = sorted(path.rglob("*.txt"))
        yield from (Input(str(file), file) for file in found)
        if not found:
            yield Input(argument, None, f"{path}: contains no files that end in .txt")
    elif not is_file and path.suffix.lower() in (".txt", *TABLES) and " " not in argument:
        yield Input(argument, None, f"{path}: does not exist")
    elif is_file and path.suffix.lower() in TABLES:
        yield from rows(path, data)
    elif is_file and isinstance(data, Translation):
        yield from sentences(path)
    else:
        yield Input(argument, path if is_file else argument)


def rows(path: Path, data: TextData) -> Iterator[Input]:
    """Yield the texts in a CSV, TSV, JSON lines or Parquet file. If it is wrong, yield one input with the error."""
    try:
        for place, text in column_of_texts(path, data.has_header(), data.columns()[0], "text"):
            yield Input(place, text)
    except UserError as error:
        yield Input(str(path), None, str(error).removeprefix("text: "))


def sentences(path: Path) -> Iterator[Input]:
    """Yield the lines of a text file that are not empty. If it cannot be read, yield one input with the error."""
    try:
        lines = read_utf8(path, "text").split("\n")
    except UserError as error:
        yield Input(str(path), None, str(error).removeprefix("text: "))
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield Input(f"{path}:{number}", line.strip())


def labelled_texts(path: Path, data: TextData) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Read labelled texts that a run was not trained on: a file with the columns of the training, or class folders.

    Returns:
        token ids (N, max_tokens), targets (N, ...), and where each text comes from.

    Raises:
        UserError: the data does not fit the run or cannot be read.
    """
    text, label = data.columns()
    try:
        found: LabelledTexts = read_labelled(str(path), data.has_header(), text, label, "--data")
        targets = data.targets_of(found, "--data")
    except UserError as error:
        raise UserError(f"--data: {str(error).partition(': ')[2]}") from error
    ids = torch.stack([data.encode(one) for one in found.texts])
    return ids, targets, tuple(found.place(row) for row in range(len(found.texts)))
