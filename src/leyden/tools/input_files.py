"""Find the inputs that a command names: image files, rows of CSV files, or series in CSV files."""

import csv
import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leyden.data.image_files.listing import EXTENSIONS
from leyden.data.series import read_column
from leyden.data.tables import TableData
from leyden.errors import UserError
from leyden.records.run_folder import one_line
from leyden.tools.trained_model import TrainedModel


@dataclass(frozen=True)
class Input:
    """One input.

    Args:
        name: its name in the output.
        value: what `InMemoryData.encode` takes.
        error: why there is no value; empty if there is one.
    """

    name: str
    value: Any
    error: str = ""


def find_inputs(model: TrainedModel, arguments: Sequence[str]) -> Iterator[Input]:
    """Return the inputs that the arguments name, for the kind of data that the model was trained on.

    Args:
        model: a loaded model.
        arguments: files, folders or glob patterns. Images: each file, and all images in a folder at any depth. Tables:
            each row of a CSV file. Series: each CSV file; its last steps are the window.

    Raises:
        UserError: an argument names no file.
    """
    if not arguments:
        raise UserError("INPUT: the list of inputs is empty")
    kind = model.data.input_kind
    if kind is None:
        model.data.encode(None)  # raises the error that explains it
    extensions = EXTENSIONS if kind == "image" else (".csv",)
    paths = [path for argument in arguments for path in files(argument, extensions)]
    if kind == "row":
        columns = model.data.columns() if isinstance(model.data, TableData) else ()
        return (row for path in paths for row in rows(path, columns))
    if kind == "series":
        return (series(path, model.config.data.get("column")) for path in paths)
    return (Input(str(path), path) for path in paths)


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


def rows(path: Path, columns: Sequence[str] = ()) -> Iterator[Input]:
    """Yield the rows of a CSV file as mappings of column names to texts, named by their line.

    If the whole file is wrong, yield one input with the error.

    Args:
        path: the CSV file.
        columns: names that its first line must contain.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if problem := header_problem(reader.fieldnames or (), columns):
                yield Input(str(path), None, f"{path}: {problem}")
                return
            row = None
            for row in reader:
                yield row_input(f"{path}:{reader.line_num}", row)
            if row is None:
                yield Input(str(path), None, f"{path}: has no rows")
    except OSError as error:
        yield Input(str(path), None, f"{path}: cannot be read ({error.strerror})")
    except UnicodeDecodeError:
        yield Input(str(path), None, f"{path}: is not a CSV file in UTF-8")
    except csv.Error as error:
        yield Input(str(path), None, f"{path}: is not a CSV file ({one_line(error)})")


def row_input(name: str, row: dict[Any, Any]) -> Input:
    """Return a row of `csv.DictReader` as an input. It has None as a key or value if the number of values is wrong."""
    is_complete = None not in row and None not in row.values()
    return Input(name, row, "" if is_complete else f"{name}: has another number of values than the first line")


def header_problem(header: Sequence[str], columns: Sequence[str]) -> str:
    """Return what is wrong with the first line of a CSV file, which must contain `columns`; empty if nothing is."""
    if not header:
        return "is empty"
    missing = [name for name in columns if name not in header]
    return f"has no column {missing[0]}; the features are {', '.join(columns)}" if missing else ""


def series(path: Path, column: str | None) -> Input:
    """Return the column of a CSV file as one input, or its error; `column` as for `read_column`."""
    try:
        return Input(str(path), read_column(path, column))
    except UserError as error:
        return Input(str(path), None, str(error).partition(": ")[2])  # without the key, which names the run's own data
