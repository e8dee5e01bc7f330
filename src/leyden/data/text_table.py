"""Read a user's labelled texts from a CSV, TSV, JSON lines or Parquet file, or from class folders.

Composing a config needs the classes, so the file is read then, without torch. It is read once per process.
"""

import csv
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from leyden.data.file_access import check_regular, read_utf8
from leyden.data.parquet_file import EXTENSIONS, is_parquet, parquet_rows
from leyden.data.table_file import SHOWN, Key, check_names
from leyden.data.text_folders import class_texts
from leyden.errors import UserError

MAX_BYTES = 2_000_000_000  # of a file
MAX_LINE = 50_000_000  # characters of a line or a value
JSON_LINES = (".jsonl", ".ndjson", ".json")
TABLES = (".csv", ".tsv", ".tab", *JSON_LINES, *EXTENSIONS)  # how the names of files with rows end
QUOTED = re.compile(r'"(?:[^"]|"")*"')

Row = tuple[int, list[str]]  # number of its line, values


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with their labels.

    Args:
        path: the file or folder.
        texts: the texts; none of them is empty.
        labels: the label of each text as it is written, without spaces around it.
        places: where each text is: the line, or in a folder the path of the file.
    """

    path: Path
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    places: tuple[int | str, ...]

    def place(self, number: int) -> str:
        """Return where a text is, for an error: ``line 3 of reviews.csv``."""
        found = self.places[number]
        return found if isinstance(found, str) else f"{_unit(self.path)} {found} of {self.path}"


def read_labelled(path: str, header: bool, text: Key, label: Key, key: str = "data.path") -> LabelledTexts:
    """Return the texts and labels in a file, or in a folder with one folder of .txt files per class.

    Args:
        path: the file or folder. Files are UTF-8, or UTF-16 with a byte order mark, or Parquet.
        header: whether the first line of a CSV or TSV file contains the names of its columns.
        text, label: the columns: their names, or their positions from 0.
        key: config key to name in an error.

    Raises:
        UserError: the file cannot be read, lacks a column, or has rows of different lengths, an empty text or label.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        return LabelledTexts(file, *class_texts(file, "test" if key == "data.test_path" else "train", key))
    check_regular(file, key, MAX_BYTES)
    found = os.stat(file)  # noqa: PTH116 (a changed file is read again)
    return _read(file, header, text, label, key, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, header: bool, text: Key, label: Key, key: str, size: int, modified: int) -> LabelledTexts:
    rows = _rows(path, header, (text, label), key)
    _, names = next(rows, (0, []))
    positions = _position(names, text, "data.text", path), _position(names, label, "data.label", path)
    texts, labels, lines = [], [], []
    for line, row in rows:
        values = [row[position].strip() for position in positions]
        for value, name in zip(values, ("data.text", "data.label"), strict=True):
            if not value:
                what = "text" if name == "data.text" else "label"
                raise UserError(f"{name}: {_unit(path)} {line} of {path} has an empty {what}. Remove the row")
        texts.append(values[0])
        labels.append(values[1])
        lines.append(line)
    if not texts:
        raise UserError(f"{key}: {path} has no rows")
    return LabelledTexts(path, tuple(texts), tuple(labels), tuple(lines))


def column_of_texts(path: Path, header: bool, text: Key, key: str) -> Iterator[tuple[str, str]]:
    """Yield the place of each row in a file, and its text; the arguments are those of `read_labelled`."""
    check_regular(path, key, MAX_BYTES)
    rows = _rows(path, header, (text,), key)
    _, names = next(rows, (0, []))
    position = _position(names, text, key, path)
    for line, row in rows:
        yield f"{path}:{line}", row[position].strip()


def _position(names: Sequence[str], column: Key, key: str, path: Path) -> int:
    if isinstance(column, int) and not isinstance(column, bool) and 0 <= column < len(names):
        return column
    if str(column) in names:
        return names.index(str(column))
    more = f", … ({len(names)} in all)" if len(names) > SHOWN else ""
    listed = ", ".join(names[:SHOWN]) + more
    raise UserError(f"{key}: got {column}, but the columns of {path} are {listed or 'none: the file is empty'}")


def _unit(path: Path) -> str:
    return "row" if is_parquet(path) else "line"


def _rows(path: Path, header: bool, columns: Sequence[Key], key: str) -> Iterator[Row]:
    """Yield the names of the columns, then the rows with their lines. All rows have the same number of values."""
    if is_parquet(path):
        if not header:
            raise UserError(f"data.header: got false, but {path} is a Parquet file, which has the names of its columns")
        yield from parquet_rows(path, key)
        return
    lines = read_utf8(path, key, MAX_BYTES).split("\n")
    if long := next((number for number, line in enumerate(lines, 1) if len(line) > MAX_LINE), 0):
        raise UserError(f"{key}: line {long} of {path} has more than {MAX_LINE:,} characters")
    if path.suffix.lower() in JSON_LINES:
        yield from _json_rows(lines, path, columns, key)
        return
    rows = _separated(lines, path, key)
    names: list[str] = []
    for line, row in rows:
        if not names:
            names = [name.strip() for name in row] if header else [str(number) for number in range(len(row))]
            if header:
                check_names(names, path, key)
            yield 0, names
            if header:
                continue
        if len(row) != len(names):
            raise UserError(f"{key}: line {line} of {path} has {len(row)} values, but the first line has {len(names)}")
        yield line, row


def _separated(lines: Sequence[str], path: Path, key: str) -> Iterator[Row]:
    """Yield the line and the values of each row of a CSV or TSV file that is not blank."""
    first = next((line for line in lines if line.strip()), "")
    delimiter = delimiter_of(first, path)
    if delimiter == "\t" and len({line.count("\t") for line in lines if line.strip()}) == 1:
        # Each line has the same number of tabs, so quotes are characters like others.
        yield from ((number, line.split("\t")) for number, line in enumerate(lines, 1) if line.strip())
        return
    before = csv.field_size_limit(MAX_LINE)
    rows = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, skipinitialspace=delimiter != "\t")
    try:
        for row in rows:
            if any(value.strip() for value in row):
                yield rows.line_num, row
    except csv.Error as error:
        raise UserError(f"{key}: line {rows.line_num} of {path} is not CSV ({error})") from error
    finally:
        csv.field_size_limit(before)


def delimiter_of(first: str, path: Path) -> str:
    """Return what separates the values of the first line: a tab, a comma, a semicolon or ``|``.

    Texts contain commas themselves. So a tab has priority, and what is in quotes does not count.
    """
    plain = QUOTED.sub("", first)
    if path.suffix.lower() in (".tsv", ".tab") or "\t" in plain:
        return "\t"
    return max(",;|", key=plain.count)


def _json_rows(lines: Sequence[str], path: Path, columns: Sequence[Key], key: str) -> Iterator[Row]:
    names = [str(column) for column in columns]
    yield 0, names
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{key}: line {number} of {path} is not JSON ({error})") from error
        if not isinstance(values, dict):
            raise UserError(f"{key}: line {number} of {path} is not a JSON object")
        if missing := [name for name in names if name not in values]:
            raise UserError(f"{key}: line {number} of {path} has no {missing[0]}; it has {', '.join(values)}"[:500])
        yield number, [_json_text(values[name], name, f"line {number} of {path}") for name in names]


def _json_text(value: Any, name: str, where: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise UserError(f"data.path: {name} in {where} must be a text or a number; join several labels to one text")
