"""Read sentence pairs: from two columns of a CSV or TSV file, or from two files with one sentence per line.

Quotes have no meaning in a file that is separated by tabs, because sentences often begin with one.
"""

import csv
from collections.abc import Iterable
from pathlib import Path

from leyden.data.file_access import check_regular, read_bytes
from leyden.errors import UserError

MAX_BYTES = 2_000_000_000  # of a file
MAX_LINE = 1_000_000  # characters
DELIMITERS = "\t;,|"
SHOWN = 10  # columns that an error names

Column = str | int
Pairs = tuple[list[str], list[str], int]  # sources, targets, number of pairs that were left out


def read_pairs(path: str, other: str | None, columns: tuple[Column, Column], header: bool, key: str) -> Pairs:
    """Return sources, targets, and how many pairs were left out because a side is empty.

    Args:
        path: the file of both sides, or of the sources.
        other: the file of the targets. None: they are a column of `path`.
        columns: the columns of sources and targets, by name or by position from 0; not used with `other`.
        header: whether the first line of a file with both sides contains the names of the columns.
        key: config key of `path`, to name in an error, such as ``data.path``.

    Raises:
        UserError: a file cannot be read, has no such column, or the files have different numbers of lines.
    """
    file = Path(path).expanduser()
    if other is None:
        both = table_pairs(file, columns, header, key)
    else:
        second = Path(other).expanduser()
        sides = lines_of(file, key), lines_of(second, target_key(key))
        if len(sides[0]) != len(sides[1]):
            raise UserError(
                f"{target_key(key)}: {second} has {len(sides[1]):,} lines, but {file} has {len(sides[0]):,}; line n of "
                "one must be the translation of line n of the other"
            )
        both = list(zip(*sides, strict=True))
    pairs = [(source.strip(), target.strip()) for source, target in both]
    kept = [pair for pair in pairs if all(pair)]
    if not kept:
        raise UserError(f"{key}: {file} contains no sentence pairs")
    return [source for source, _ in kept], [target for _, target in kept], len(pairs) - len(kept)


def target_key(key: str) -> str:
    """Return the key of the file of the targets: ``data.path`` → ``data.target_path``."""
    return key.replace("path", "target_path")


def lines_of(path: Path, key: str) -> list[str]:
    """Return the lines of a text file in UTF-8, or in UTF-16 with a byte order mark. Only a newline ends a line.

    Raises:
        UserError: the file cannot be read, or a line is too long, has NUL characters or another encoding.
    """
    check_regular(path, key, MAX_BYTES)
    content = read_bytes(path, key, MAX_BYTES)
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{key}: line {line:,} of {path} is not UTF-8; save the file in UTF-8") from error
    lines = text.removesuffix("\n").split("\n")
    for number, one in enumerate(lines, 1):
        if "\0" in one:
            raise UserError(f"{key}: line {number:,} of {path} contains NUL characters")
        if len(one) > MAX_LINE:
            raise UserError(f"{key}: line {number:,} of {path} has {len(one):,} characters, the limit is {MAX_LINE:,}")
    return lines


def table_pairs(path: Path, columns: tuple[Column, Column], header: bool, key: str) -> list[tuple[str, str]]:
    """Return two columns of a CSV or TSV file; the arguments are those of `read_pairs`."""
    lines = lines_of(path, key)
    delimiter = max(DELIMITERS, key=lambda one: (one == "\t" and "\t" in lines[0], lines[0].count(one)))
    ended = (f"{line}\n" for line in lines)
    if delimiter == "\t":
        rows = csv.reader(ended, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        rows = csv.reader(ended, delimiter=delimiter)
    positions: list[int] = []
    found = []
    try:
        for row in rows:
            if not row:
                continue
            if not positions:
                names = row if header else list(map(str, range(len(row))))
                positions = [position(names, column, f"data.{side}", path)
                             for side, column in zip(("source", "target"), columns, strict=True)]  # fmt: skip
                if header:
                    continue
            if len(row) <= max(positions):
                raise UserError(f"{key}: line {rows.line_num:,} of {path} has only {len(row)} values")
            found.append((row[positions[0]], row[positions[1]]))
    except csv.Error as error:
        raise UserError(f"{key}: line {rows.line_num:,} of {path} is not CSV ({error})") from error
    return found


def position(names: Iterable[str], column: Column, key: str, path: Path) -> int:
    """Return the position of a column, given by its name or its position from 0.

    Raises:
        UserError: there is no such column.
    """
    listed = [name.strip() for name in names]
    if isinstance(column, int) and not isinstance(column, bool) and 0 <= column < len(listed):
        return column
    if str(column) not in listed:
        more = f", … ({len(listed)} in all)" if len(listed) > SHOWN else ""
        raise UserError(f"{key}: got {column}, but the columns of {path} are {', '.join(listed[:SHOWN])}{more}")
    return listed.index(str(column))
