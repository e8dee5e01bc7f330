"""Read a user's table from a CSV file and find out what its columns contain. Does not import torch.

Composing a config needs the number of features and the classes, so the file is read then. It is read once per process.
"""

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from leyden.data.file_access import check_regular, read_text
from leyden.errors import UserError

MAX_BYTES = 500_000_000  # of a file
MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?"})  # in lower case
DELIMITERS = ",;\t|"
MAX_CLASSES = 20  # a column of whole numbers with at most so many different values contains classes
SHOWN = 10  # columns that an error names

Key = str | int


@dataclass(frozen=True)
class RawTable:
    """A table as text.

    Args:
        path: the file.
        names: names of the columns.
        rows: the values of each row without spaces around them; a missing one is empty.
        lines: the line of each row in the file, from 1.
    """

    path: Path
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

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


def read_raw(path: str, header: bool, key: str = "data.path") -> RawTable:
    """Return the table in a CSV file, whose columns are separated by comma, semicolon, tab or ``|``.

    Args:
        path: the file, in UTF-8, in UTF-16 with a byte order mark, or in Latin-1.
        header: whether the first line contains the names. Otherwise they are 0, 1, 2, …
        key: config key to name in an error.

    Raises:
        UserError: the file cannot be read, is not a table, or has rows of different lengths.
    """
    file = Path(path).expanduser()
    check_regular(file, key, MAX_BYTES)
    found = os.stat(file)  # noqa: PTH116 (a changed file is read again)
    return _read(file, header, key, found.st_size, found.st_mtime_ns)


@cache
def _read(path: Path, header: bool, key: str, size: int, modified: int) -> RawTable:
    text = read_text(path, key, MAX_BYTES)
    if "\0" in text:
        raise UserError(f"{key}: {path} contains NUL characters; save it as CSV in UTF-8")
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    for line, row in numbered_rows(text.splitlines(keepends=True), path, key):
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
    if len(names) < 2 or not rows:
        what = "no rows" if len(names) > 1 else f"{len(names)} columns; it needs the target and at least one other"
        raise UserError(f"{key}: {path} has {what}")
    return RawTable(path, names, tuple(rows), tuple(lines))


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
                values = (value.strip() for value in row)
                yield rows.line_num, ["" if value.lower() in MISSING else value for value in values]
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


def as_number(text: str) -> float | None:
    """Return a value as a finite number, or None if it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def target_task(path: str, header: bool, target: Key) -> str:
    """Return ``classification`` if the target column contains texts or few whole numbers, otherwise ``regression``.

    Raises:
        UserError: there is no such table or no such column.
    """
    table = read_raw(path, header)
    values = {value for value in table.column(table.position(target, "data.target")) if value}
    numbers = [as_number(value) for value in values]
    if None in numbers:
        return "classification"
    whole = all(number is not None and number.is_integer() for number in numbers)
    return "classification" if whole and len(values) <= MAX_CLASSES else "regression"


def classes_of(path: str, header: bool, target: Key, task: str) -> list[str]:
    """Return the classes of the target column in their order; none if `task` is not classification.

    Raises:
        UserError: there are fewer than two.
    """
    if task != "classification":
        return []
    table = read_raw(path, header)
    position = table.position(target, "data.target")
    values = {value for value in table.column(position) if value}
    if len(values) < 2:
        raise UserError(
            f"data.target: column {table.names[position]} of {table.path} has {len(values)} classes, at least 2 are "
            "needed"
        )
    return sorted(values, key=lambda value: (as_number(value) is None, as_number(value) or 0.0, value))


def features_of(
    path: str,
    header: bool,
    target: Key,
    ignore: Sequence[Key],
    categorical: Sequence[Key],
    max_categories: int,
) -> dict[str, list[str]]:
    """Return feature → its categories, none for numbers, in the order of the columns.

    A column is numeric if all its values are numbers. Columns of texts with more than `max_categories` different
    values, such as names, are left out.

    Args:
        path, header: see `read_raw`.
        target: the column to predict, which is no feature.
        ignore: columns that are no features.
        categorical: columns whose values are categories although they may be numbers, or too many: of these, the
            `max_categories` most frequent ones count.
        max_categories: see above.

    Raises:
        UserError: a column does not exist, or none is left.
    """
    table = read_raw(path, header)
    left_out = {table.position(target, "data.target"), *(table.position(column, "data.ignore") for column in ignore)}
    forced = {table.position(column, "data.categorical") for column in categorical}
    features = {}
    for position, name in enumerate(table.names):
        if position not in left_out:
            found = categories_of(table.column(position), position in forced, max_categories)
            if found is not None:
                features[name] = found
    if not features:
        raise UserError(
            f"data.path: {table.path} has no column that can be a feature: numbers, or at most {max_categories} "
            "different texts (data.max_categories)"
        )
    return features


def categories_of(values: Sequence[str], forced: bool, max_categories: int) -> list[str] | None:
    """Return the categories of a column, none for numbers; None if the column cannot be a feature.

    The arguments are those of `features_of`; `forced` says whether the column is in `categorical`.
    """
    counts = Counter(value for value in values if value)
    if not forced and all(as_number(value) is not None for value in counts):
        return [] if counts else None
    if not forced and len(counts) > max_categories:
        return None
    frequent = sorted(counts, key=lambda value: (-counts[value], value))[:max_categories]
    return sorted(frequent)


def width_of(features: Mapping[str, Sequence[str]]) -> int:
    """Return the number of inputs: one per number, and one per category."""
    return sum(max(1, len(categories)) for categories in features.values())
