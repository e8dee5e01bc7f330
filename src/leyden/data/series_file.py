"""Read the steps of time series from a file: one column in the order of time, or a table with a column of times."""

import csv
import io
import math
import re
from array import array
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leyden.data.datamodule import printable
from leyden.data.file_access import read_text
from leyden.data.parquet_file import is_parquet
from leyden.data.scaling import LARGEST
from leyden.data.steps import Steps
from leyden.data.table_columns import as_number
from leyden.data.table_file import RawTable, read_raw
from leyden.errors import UserError

MAX_BYTES = 200_000_000  # of a CSV file
MAX_LISTED = 500  # characters of a file that an error shows
GAP = 1.5  # of the most common distance of two steps; months differ by a factor of 1.11
MONTH = re.compile(r"\d{4}-\d{2}")
DATE = re.compile(r"\d{8}")


def read_column(path: Path, column: str | None, key: str = "data.path") -> Tensor:
    """Read a column of a CSV file whose first line contains column names, or of a Parquet file, float32 (N,).

    A CSV file is UTF-8, UTF-16 with a byte order mark, or Latin-1. A file with one column needs no `column`.

    Raises:
        UserError: the file does not have this format or has no rows, there is no such column, or a value in it is not a
            number.
    """
    if is_parquet(path):
        table = read_raw(str(path), True, key, 1)
        position = _position(table.names, column, path)
        return torch.tensor([_number(text, table.place(row)) for row, text in enumerate(table.column(position))])
    rows = csv.reader(io.StringIO(read_text(path, key, MAX_BYTES), newline=""))
    values, blank = array("d"), 0  # number of the last blank line
    try:
        position = _position(next(rows, []), column, path)
        for row in rows:
            if not row:
                blank = rows.line_num
            elif blank:  # only the last lines of a file may be blank
                raise UserError(f"{key}: line {blank} of {path} is blank, but a step may not be missing")
            else:
                text = row[position] if position < len(row) else ""
                values.append(_number(text, f"line {rows.line_num} of {path}"))
    except csv.Error as error:
        raise UserError(f"{key}: line {rows.line_num} of {path} is not CSV ({error})") from error
    if not values:
        raise UserError(f"{key}: {path} has no rows")
    return torch.tensor(values, dtype=torch.float32)


def read_steps(path: Path, column: str | None, time: str, group: str | None, *, joined: bool, key: str) -> Steps:
    """Read the series in a table with a column of times. The rows may have any order.

    Args:
        path: the CSV or Parquet file.
        column: the column of the values. An empty value is missing.
        time: the column of the times, see `times_of`.
        group: the column with the name of the series of each row; None for a single series.
        joined: whether rows that follow each other in a series are successive steps, however large their distance.
        key: config key of the file, to name in an error.

    Raises:
        UserError: the file cannot be read, a column does not exist, a value is not a number, a time or a name is
            missing or cannot be read, or a time occurs twice in a series.
    """
    table = read_raw(str(path), True, key)
    if column is None:
        raise UserError(f"data.column: got null, must be the column of {path} to predict")
    texts = table.column(table.position(column, "data.column"))
    values = np.array([_number(text, table.place(row)) if text else math.nan for row, text in enumerate(texts)])
    moments = times_of(_complete(table, time, "data.time"), table)
    found = _complete(table, group, "data.group") if group else [""] * len(values)
    names = tuple(sorted(set(found)))
    numbers = dict(zip(names, range(len(names)), strict=True))
    series = np.array([numbers[name] for name in found])
    order = np.lexsort((moments, series))
    series, moments = series[order], moments[order]
    same = series[1:] == series[:-1]
    distances = np.diff(moments)
    if (double := np.flatnonzero(same & (distances == 0))).size:
        raise _twice(table, time, group, order[double[0]], order[double[0] + 1])
    follows = same if joined else same & (distances < GAP * most_common(distances[same]))
    return Steps(
        torch.from_numpy(values[order]).float(),
        torch.from_numpy(np.unique(moments, return_inverse=True)[1]),
        torch.from_numpy(np.concatenate(([False], follows))),
        names,
        tuple(np.bincount(series).tolist()),
    )


def times_of(texts: Sequence[str], table: RawTable) -> NDArray[np.float64]:
    """Return times as numbers: seconds of dates, or the numbers themselves.

    A time is a date or a point in time in ISO 8601, such as 2024-01-31, 20240131, 2024-01 or 2024-01-31T18:00, with or
    without a time zone; or all times are numbers.

    Raises:
        UserError: one is neither.
    """
    numbers = [as_number(text) for text in texts]
    if None not in numbers and not all(map(DATE.fullmatch, texts)):
        return np.array(numbers, dtype=np.float64)
    found = []
    for row, text in enumerate(texts):
        try:
            moment = datetime.fromisoformat(f"{text}-01" if MONTH.fullmatch(text) else text)
        except ValueError as error:
            raise UserError(
                f"data.time: {printable(text)[:100]!r} in {table.place(row)} is neither a number as all others nor a "
                "date such as 2024-01-31 or 2024-01-31 18:00"
            ) from error
        found.append((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    return np.array(found)


def most_common(distances: NDArray[np.float64]) -> float:
    """Return the most common distance, of several the smallest; infinity if there is none."""
    found, counts = np.unique(distances, return_counts=True)
    return float(found[counts.argmax()]) if len(found) else math.inf


def _complete(table: RawTable, column: str, key: str) -> list[str]:
    """Return the texts of a column. Raise UserError if one is missing."""
    texts = table.column(table.position(column, key))
    if "" in texts:
        raise UserError(f"{key}: {table.place(texts.index(''))} has no value in column {column}. Remove the row")
    return texts


def _twice(table: RawTable, time: str, group: str | None, first: int, second: int) -> UserError:
    """Return the error for two rows with the same time in the same series."""
    when = printable(table.column(table.position(time, "data.time"))[first])
    where = f"lines {table.lines[first]} and {table.lines[second]} of {table.path}"
    if group is None:
        return UserError(f"data.time: {when} occurs twice, in {where}. For several series, use data.group=COLUMN")
    name = printable(table.column(table.position(group, "data.group"))[first])
    return UserError(f"data.time: {when} occurs twice in the series {name}, in {where}")


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
