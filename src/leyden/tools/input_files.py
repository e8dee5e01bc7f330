"""Find the inputs that a command names: images, rows of tables, series in CSV and Parquet files, or texts."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from leyden.data import parquet_file
from leyden.data.file_access import read_utf8
from leyden.data.image_files.listing import EXTENSIONS
from leyden.data.series import Series
from leyden.data.texts import TextData
from leyden.errors import UserError
from leyden.tools.csv_inputs import Input, rows, series
from leyden.tools.text_inputs import text_inputs
from leyden.tools.trained_model import TrainedModel


def find_inputs(model: TrainedModel, arguments: Sequence[str]) -> Iterator[Input]:
    """Return the inputs that the arguments name, for the kind of data that the model was trained on.

    Args:
        model: a loaded model.
        arguments: files, folders or glob patterns. Images: each file, and all images in a folder at any depth. Tables:
            each row of a CSV or Parquet file. Series: each series in such a file; its last steps are the window. Texts:
            the text itself, a text file, or, of runs with labels or pairs, the rows of a table. Texts to translate: the
            text itself, or each line of a text file.

    Raises:
        UserError: an argument names no file.
    """
    if not arguments:
        raise UserError("INPUT: the list of inputs is empty")
    kind = model.data.input_kind
    if kind is None:
        model.data.encode(None)  # raises the error that explains it
    if isinstance(data := model.data, TextData):
        return (text for argument in arguments for text in text_inputs(argument, data))
    if kind == "text":
        return (text_input(argument) for argument in arguments)
    extensions = EXTENSIONS if kind == "image" else (".csv", *parquet_file.EXTENSIONS)
    paths = [path for argument in arguments for path in files(argument, extensions)]
    if kind == "row":
        return (row for path in paths for row in rows(path, model.data))
    if isinstance(model.data, Series):
        return (found for path in paths for found in series(path, model.data))
    return (Input(str(path), path) for path in paths)


def text_input(argument: str) -> Input:
    """Return the content of a text file, or the argument itself if there is no such file."""
    path = text_file(argument)
    return Input(argument, argument if path is None else read_utf8(path, "INPUT"))


def text_file(argument: str) -> Path | None:
    """Return the path of the file with this name, or None if there is none."""
    path = Path(argument).expanduser()
    try:
        return path if path.is_file() else None
    except OSError:  # too long for the name of a file
        return None


def files(argument: str, extensions: Sequence[str]) -> list[Path]:
    """Return the files that an argument names: a file, a folder or a glob pattern.

    Raises:
        UserError: there is none.
    """
    path = Path(argument).expanduser()
    if path.is_dir():
        found = sorted(
            Path(parent, name)
            for parent, _, names in os.walk(path)
            for name in names
            if name.lower().endswith(tuple(extensions)) and not name.startswith(".")
        )
        if not found:
            raise UserError(f"{path}: contains no files that end in {', '.join(extensions)}")
        return found
    if path.exists():
        return [path]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute too)
    if found := [match for match in matches if match.is_file()]:
        return found
    raise UserError(f"{path}: {'matches no file' if glob.has_magic(str(path)) else 'does not exist'}")
