"""Read the files of a run folder of a stranger: no links are followed, and the sizes are bounded."""

import base64
import csv
import io
import json
import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from leyden.errors import UserError
from leyden.records.run_folder import one_line
from leyden.tools.page.elements import Html

MAX_JSON_BYTES = 16 << 20
MAX_CSV_BYTES = 1 << 30
MAX_COLUMNS = 500
MAX_POINTS = 1_000  # of a curve
MAX_IMAGE_BYTES = 2 << 20
MAX_IMAGE_SIDE = 4096  # pixels
PNG_HEADER = b"\x89PNG\r\n\x1a\n"


@contextmanager
def opened(path: Path, limit: int) -> Iterator[IO[bytes] | None]:
    """Open a regular file for reading; None if there is no such file.

    Raises:
        UserError: it is a link or a special file, is larger than `limit` bytes, or cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if path.is_symlink():
            raise UserError(f"{path}: is a symbolic link, which is not followed. Replace it by a real file")
        with os.fdopen(os.open(path, flags), "rb") as file:
            information = os.fstat(file.fileno())
            if not stat.S_ISREG(information.st_mode):
                raise UserError(f"{path}: is not a regular file")
            if information.st_size > limit:
                raise UserError(f"{path}: is larger than {limit >> 20} MB, so it is not a file of Leyden")
            yield file
    except FileNotFoundError:
        yield None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)})") from error


def read_bytes(path: Path, limit: int) -> bytes | None:
    """Return the content of a regular file; None if there is no such file. Raises UserError as `opened` does."""
    with opened(path, limit) as file:
        return None if file is None else file.read(limit)


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file; None if there is no such file. Raises UserError if it is damaged."""
    content = read_bytes(path, MAX_JSON_BYTES)
    if content is None:
        return None
    try:
        values = json.loads(content, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is damaged ({one_line(error)})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: is damaged (it does not hold an object)")
    return values


def _whole(text: str) -> int | float:
    """Return a whole number. One with very many digits becomes a float, which can be infinite."""
    return int(text) if len(text) < 18 else float(text)


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file; none if there is no such file.

    Raises:
        UserError: it is damaged.
    """
    with opened(path, MAX_CSV_BYTES) as file:
        if file is None:
            return
        try:
            rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline=""), strict=True)
            header = next(rows, [])
            if len(header) > MAX_COLUMNS:
                raise ValueError(f"it has more than {MAX_COLUMNS} columns")
            for row in rows:
                if len(row) != len(header):
                    raise ValueError(f"line {rows.line_num} is incomplete")
                yield dict(zip(header, row, strict=True))
        except (ValueError, csv.Error) as error:
            raise UserError(f"{path}: is damaged ({one_line(error)})") from error


@dataclass
class Curve:
    """The values of a metric over the training. It keeps at most 2 · `MAX_POINTS` points, evenly spaced, and the last.

    Each point is (epoch from 1, step, value).
    """

    points: list[tuple[int, int, float]] = field(default_factory=list)
    every: int = 1
    seen: int = 0
    left_out: int = 0  # values that are not finite
    last: tuple[int, int, float] | None = None

    def add(self, epoch: int, step: int, value: float) -> None:
        """Add a point, or count it if its value is not finite."""
        if not math.isfinite(value):
            self.left_out += 1
            return
        self.last = (epoch, step, value)
        if self.seen % self.every == 0:
            self.points.append(self.last)
        self.seen += 1
        if len(self.points) > 2 * MAX_POINTS:
            self.points, self.every = self.points[::2], 2 * self.every

    def all(self) -> list[tuple[int, int, float]]:
        """Return the points, the last one included."""
        missing = self.last is not None and self.points[-1] != self.last
        return [*self.points, self.last] if missing and self.last else self.points


def read_curves(folder: Path) -> dict[str, Curve]:
    """Return column of metrics.csv → its curve. Raises UserError if the file is damaged."""
    path = folder / "metrics.csv"
    curves: dict[str, Curve] = {}
    for row in read_rows(path):
        try:
            epoch, step = int(float(row["epoch"] or 0)) + 1, int(row["step"])
            for name, text in row.items():
                if text and name not in ("epoch", "step"):
                    curves.setdefault(name, Curve()).add(epoch, step, float(text))
        except (KeyError, ValueError, OverflowError) as error:
            raise UserError(f"{path}: is damaged ({one_line(error)})") from error
    return curves


@dataclass(frozen=True)
class Png:
    """A PNG file of a run folder: its name below the folder, its size in pixels, and its address for ``<img>``."""

    name: str
    width: int
    height: int
    address: Html


def read_png(folder: Path, name: str) -> Png | None:
    """Return a PNG of a run folder; None if it is no PNG, or larger than `MAX_IMAGE_BYTES` or `MAX_IMAGE_SIDE`."""
    try:
        content = read_bytes(folder / name, MAX_IMAGE_BYTES)
    except UserError:
        return None  # the page names it among the images that are left out
    if not content or not content.startswith(PNG_HEADER) or len(content) < 33:
        return None
    width, height = struct.unpack(">II", content[16:24])
    if not (0 < width <= MAX_IMAGE_SIDE and 0 < height <= MAX_IMAGE_SIDE):
        return None
    return Png(name, width, height, Html(f"data:image/png;base64,{base64.b64encode(content).decode()}"))


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in `folder` by name, without links."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def get(values: Any, *keys: str, kind: type | tuple[type, ...] = str) -> Any:
    """Return ``values[key][key]…`` if all of them exist and the value is a `kind`; otherwise None."""
    for key in keys:
        if not isinstance(values, dict) or key not in values:
            return None
        values = values[key]
    is_flag = isinstance(values, bool) and kind is not bool
    return values if isinstance(values, kind) and not is_flag else None
