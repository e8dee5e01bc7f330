"""Read a user's table from a CSV or Parquet file. Does not import torch.

Composing a config needs the number of features and the classes, so the file is read then. It is read once per process.
"""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from leyden.data.file_access import check_regular, read_text
from leyden.data.parquet_file import is_parquet, parquet_rows
from leyden.errors import UserError

MAX_BYTES = 500_000_000  # of a file
MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?"})  # in lower case
DELIMITERS = ",;\t|"
SHOWN = 10  # columns that an error names

Key = str | int


@dataclass(frozen=True)
class RawTable:
    """A table as text.

    Args:
        path: the file.
        names: names of the columns.
        rows: the values of each row without spaces around them; a missing one is empty.
        lines: the line of each row in the file, from 1. In a Parquet file, which has no lines, the number of the row.
    """

    path: Path
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def place(self, row: int) -> str:
        """Return where a row is, for an error: ``line 3 of houses.csv``."""
        return f"{'row' if is_parquet(self.path) else 'line'} {self.lines[row]} of {self.path}"

    def position(self, column: Key, key: str) -> int:
        """Return the position of a column, given by its name or its position from 0.

        Raises:
            UserError: there is no such column.
        """
        if isinstance(column, int) and not isinstance(column, bool) and 0 <= column < len(self.names):
            return column
        if str(column) not in self.names:
            more = f", … ({len(self.names)} in all)" if len(self.names) > SHOWN else ""
            listed = ", ".join(self.names[:SHOWN]) + more
            raise UserError(f"{key}: got {column}, but the columns of {self.path} are {listed}")
        return self.names.index(str(column))

    def column(self, position: int) -> list[str]:
        return [row[position] for row in self.rows]


def read_raw(path: str, header: bool, key: str = "data.path", num_columns: int = 2) -> RawTable:
    """Return the table in a Parquet file, or in a CSV file with columns separated by comma, semicolon, tab or ``|``.

    Args:
        path: the file. Parquet: its name ends in .parquet. CSV: in UTF-8, in UTF-16 with a byte order mark, or in
            Latin-1.
        header: whether the first line contains the names. Otherwise they are 0, 1, 2, … Parquet files have names.
        key: config key to name in an error.
        num_columns: the smallest number of columns that is accepted.

    Raises:
        UserError: the file cannot be read, is not a table, or has rows of different lengths.
    """
    file = Path(path).expanduser()
    check_regular(file, key, MAX_BYTES)
    found = os.stat(file)  # noqa: PTH116 (a changed file is read again)
    return _read(file, header, key, num_columns, found.st_size, found.st_mtime_ns)


@cache
def _read(path: Path, header: bool, key: str, num_columns: int, size: int, modified: int) -> RawTable:
    if not header and is_parquet(path):
        raise UserError(f"data.header: got false, but {path} is a Parquet file, which has the names of its columns")
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    for line, row in file_rows(path, key):
        if rows and len(row) != len(rows[0]):
            raise UserError(
                f"{key}: line {line} of {path} has {len(row)} values, but the first line has {len(rows[0])}"
            )
        rows.append(tuple(row))
        lines.append(line)
    names = rows[0] if rows and header else tuple(map(str, range(len(rows[0])))) if rows else ()
    if header:
        rows, lines = rows[1:], lines[1:]
        check_names(names, path, key)
    if len(names) < num_columns or not rows:
        few = f"{len(names)} columns; it needs the target and at least one other"
        raise UserError(f"{key}: {path} has {'no rows' if len(names) >= num_columns else few}")
    return RawTable(path, names, tuple(rows), tuple(lines))


def file_rows(path: Path, key: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the values of each row that is not blank. The first one has the names, if there are any."""
    if is_parquet(path):
        for number, row in parquet_rows(path, key):
            if any(value.strip() for value in row):
                yield number, cleaned(row)
        return
    text = read_text(path, key, MAX_BYTES)
    if "\0" in text:
        raise UserError(f"{key}: {path} contains NUL characters; save it as CSV in UTF-8")
    yield from numbered_rows(text.splitlines(keepends=True), path, key)


def cleaned(row: Iterable[str]) -> list[str]:
    """Return values without spaces around them; one that stands for a missing value is empty."""
    values = (value.strip() for value in row)
    return ["" if value.lower() in MISSING else value for value in values]


def numbered_rows(lines: Iterable[str], path: Path, key: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the values of each line that is not blank. The first one shows the separator."""
    rest, start = iter(lines), list[str]()
    for line in rest:
        start.append(line)
        if line.strip():
            break
    delimiter = max(DELIMITERS, key="".join(start).count)
    rows = csv.reader(chain(start, rest), delimiter=delimiter, skipinitialspace=True)
    try:
        for row in rows:
            if any(value.strip() for value in row):
                yield rows.line_num, cleaned(row)
    except csv.Error as error:
        raise UserError(f"{key}: line {rows.line_num} of {path} is not CSV ({error})") from error


def check_names(names: Sequence[str], path: Path, key: str) -> None:
    """Raise UserError if a name is empty or occurs twice."""
    double = [name for name, times in Counter(names).items() if times > 1]
    if double:
        name = double[0] or "without a name"
        raise UserError(f"{key}: {path} has two columns {name}. If it has no line of names, use data.header=false")
    if "" in names:
        raise UserError(f"{key}: column {names.index('') + 1} of {path} has no name")
