"""Read the inputs in a CSV or Parquet file: the rows of a table, or series."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from leyden.data.datamodule import InMemoryData, printable
from leyden.data.file_access import text_encoding
from leyden.data.parquet_file import is_parquet
from leyden.data.series import Series
from leyden.data.table import Table
from leyden.data.table_file import file_rows, numbered_rows
from leyden.data.tables import TableData
from leyden.errors import UserError


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


def rows(path: Path, data: InMemoryData) -> Iterator[Input]:
    """Yield the rows of a CSV or Parquet file as mappings of column names to texts, named by their line or row.

    The encoding and the separator are found as for a training with ``data=table``. Few rows are in memory at the same
    time, unless it is a Parquet file. If the whole file is wrong, yield one input with the error.

    Args:
        path: the file.
        data: the data set of the run. Its features must be columns of the file.
    """
    try:
        if is_parquet(path):
            yield from table_rows(file_rows(path, "row"), path, data)
            return
        with path.open(newline="", encoding=text_encoding(path)) as file:
            yield from table_rows(numbered_rows(file, path, "row"), path, data)
    except OSError as error:
        yield broken(path, f"cannot be read ({error.strerror})")
    except UserError as error:
        yield Input(str(path), None, str(error).removeprefix("row: "))


def table_rows(lines: Iterator[tuple[int, list[str]]], path: Path, data: InMemoryData) -> Iterator[Input]:
    """Yield the rows in the numbered `lines` of the file at `path`, see `rows`."""
    columns = data.columns() if isinstance(data, TableData) else ()
    number, names = next(lines, (0, []))
    if not names:
        yield broken(path, "is empty")
        return
    if isinstance(data, Table) and not data.header and not is_parquet(path):  # the first line is a row
        lines = chain([(number, names)], lines)
        names = list(columns) if len(names) == len(columns) else list(map(str, range(len(names))))
    if problem := header_problem(names, columns):
        yield broken(path, problem)
        return
    number = 0
    for number, values in lines:
        yield row_input(path, number, names, values)
    if not number:
        yield broken(path, "has no rows")


def broken(path: Path, reason: str) -> Input:
    """Return a file as an input that cannot be read."""
    return Input(str(path), None, f"{path}: {reason}")


def row_input(path: Path, number: int, names: Sequence[str], values: Sequence[str]) -> Input:
    """Return the row in line `number` as an input."""
    name = f"{path}:{number}"
    if len(values) != len(names):
        return Input(name, None, f"{name}: has {len(values)} values, but the first line has {len(names)}")
    return Input(name, dict(zip(names, values, strict=True)))


def header_problem(names: Sequence[str], columns: Sequence[str]) -> str:
    """Return what is wrong with the names of the columns of a file, which need `columns`; empty if nothing is."""
    if missing := [name for name in columns if name not in names]:
        return f"has no column {missing[0]}; the features are {', '.join(columns)}"
    double = [name for name in columns if names.count(name) > 1]
    return f"has two columns {double[0]}" if double else ""


def series(path: Path, data: Series) -> Iterator[Input]:
    """Yield the series in a CSV or Parquet file, which has the columns that the training had.

    Of a table with a column of times, only the last window of each series is used, and the name of an input contains
    that of its series. If the whole file is wrong, yield one input with the error.

    Args:
        path: the file.
        data: the data set of the run.
    """
    try:
        steps = data.read_file(path, "data.path")
    except UserError as error:
        yield Input(str(path), None, str(error).partition(": ")[2])  # without the key, which names the run's own data
        return
    for one in steps.series():
        name = f"{path}: {printable(one.names[0])}" if data.group else str(path)
        complete = data.time is None or len(one.values) - data.window in one.starts(data.window).tolist()[-1:]
        problem = f"{name}: its last rows are not {data.window} successive steps without a missing value"
        yield Input(name, one.values) if complete else Input(name, None, problem)
