"""Read the table in a Parquet file as text, value by value as pandas writes it to a CSV file. Does not import torch.

So the same table as a CSV file and as a Parquet file gives the same features, classes, split and fingerprint.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leyden.errors import UserError

EXTENSIONS = (".parquet", ".pq")
MAX_VALUES = 100_000_000  # rows times columns: a small file can contain many equal values
MAX_CHARACTERS = 500  # of a message of pyarrow


def is_parquet(path: Path) -> bool:
    """Whether the name of a file is that of a Parquet file."""
    return path.suffix.lower() in EXTENSIONS


def parquet_rows(path: Path, key: str) -> Iterator[tuple[int, list[str]]]:
    """Yield 0 and the names of the columns, then the number of each row, from 1, and its values. None is empty.

    Args:
        path: the file, which exists.
        key: config key to name in an error.

    Raises:
        UserError: the file is damaged or too large, a column contains neither numbers nor texts, or pyarrow is missing.
    """
    names, columns = _columns(path, key)
    yield 0, names
    for number, row in enumerate(zip(*columns, strict=True), 1):
        yield number, list(row)


def _columns(path: Path, key: str) -> tuple[list[str], list[list[str]]]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UserError(f'{key}: {path} is a Parquet file, which needs pyarrow: pip install -e ".[parquet]"') from error
    try:
        with ParquetFile(path) as file:
            num_values = file.metadata.num_rows * file.metadata.num_columns
            if num_values > MAX_VALUES:
                raise UserError(f"{key}: {path} has {num_values:,} values, the limit is {MAX_VALUES:,}")
            table = file.read()
        names = [str(name) for name in table.column_names]
        named = zip(names, table.columns, strict=True)
        return names, [_texts(column, f"{key}: column {name} of {path}") for name, column in named]
    except UserError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:MAX_CHARACTERS]
        raise UserError(f"{key}: {path} cannot be read as Parquet ({reason})") from error


def _texts(column: Any, where: str) -> list[str]:
    """Return the values of a column, a `pyarrow.ChunkedArray`, as texts; a missing value is empty.

    Raises:
        UserError: the values are lists or structures, for example.
    """
    from pyarrow import string, timestamp, types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if types.is_float32(kind) or types.is_float16(kind):
        return [_text(value) for value in column.to_numpy()]  # 0.1, not 0.10000000149011612
    if types.is_timestamp(kind):  # Python's times have no nanoseconds
        return _times(column.cast(timestamp("us", kind.tz), safe=False).to_pylist())
    if types.is_string_view(kind):
        column = column.cast(string())
    plain = (
        types.is_null, types.is_boolean, types.is_integer, types.is_float64, types.is_string, types.is_large_string,
        types.is_string_view, types.is_date, types.is_time, types.is_decimal,
    )  # fmt: skip
    if not any(holds(kind) for holds in plain):
        raise UserError(f"{where} has the type {kind}, must have numbers, texts, booleans or dates. Remove it")
    return [_text(value) for value in column.to_pylist()]


def _text(value: Any) -> str:
    """Return a value as text; empty for None and NaN."""
    return "" if value is None or value != value else str(value)


def _times(values: list[Any]) -> list[str]:
    """Return points in time as texts: dates if all are at midnight, as pandas writes them."""
    found = [value for value in values if value is not None]
    are_dates = all(value.tzinfo is None and str(value).endswith(" 00:00:00") for value in found)
    return ["" if value is None else str(value)[: 10 if are_dates else None] for value in values]
