"""MNIST (LeCun, Cortes and Burges, 1998), read from the authors' files.

Files: ``root/MNIST/raw/*-ubyte`` in IDX format, in the same place as torchvision stores them.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from leyden.data.download import Published, download
from leyden.data.file_access import check_regular
from leyden.data.images import ImageData
from leyden.data.loaders import Batch
from leyden.errors import UserError
from leyden.records.run_folder import writing

FILES = {
    "train-images-idx3-ubyte": Published(47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": Published(60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": Published(7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": Published(10_008, "27ae3e4e09519cfbb04c329615203637"),
}
# The compressed files on the mirrors, without their extension .gz.
PACKED = {
    "train-images-idx3-ubyte": Published(9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte": Published(28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte": Published(1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte": Published(4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
}


@dataclass(kw_only=True, eq=False, repr=False)
class MNIST(ImageData):
    """MNIST: 60,000 + 10,000 handwritten digits, 28x28 grey, ten classes.

    Args:
        mirrors: addresses to download from, each ending in a slash.
    """

    names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    published: ClassVar[Mapping[str, Published]] = FILES

    mirrors: Sequence[str]

    @property
    def folder(self) -> Path:
        return self.root_folder / "MNIST" / "raw"

    def fetch(self) -> None:
        for name, packed_as in PACKED.items():
            path = self.folder / name
            packed = path.with_name(f"{name}.gz")
            if path.exists():
                continue
            if not packed.exists():
                mirrors = self.mirrors if self.download else ()
                download(packed.name, mirrors, self.folder, packed_as, wanted=str(path))
            unpack(packed, path, FILES[name].size)

    def count_test(self) -> int:
        return check_regular(self.folder / "t10k-labels-idx1-ubyte", "data.root") - 8  # without the header

    def read(self, train: bool) -> Batch:
        prefix = "train" if train else "t10k"
        images_path, labels_path = (self.folder / f"{prefix}-{name}-ubyte" for name in ("images-idx3", "labels-idx1"))
        images = read_idx(self.read_file(images_path), images_path, num_axes=3)[:, None]  # (N, 1, 28, 28)
        labels = read_idx(self.read_file(labels_path), labels_path, num_axes=1).long()
        if len(images) != len(labels):
            raise UserError(f"{self.folder}: {len(images)} images but {len(labels)} labels in the {prefix} files")
        return images, labels


def read_idx(payload: bytes, path: Path, num_axes: int) -> Tensor:
    """Read the uint8 array in an IDX file.

    The format is: two zero bytes, the type (8 for uint8), the number of axes, the length of each axis, the values.

    Args:
        payload: content of the file.
        path: path of the file, for error messages.
        num_axes: number of axes of the array.

    Raises:
        UserError: the file does not have this format or is cut off.
    """
    start = 4 + 4 * num_axes
    if payload[:3] != b"\0\0\x08":
        raise UserError(f"{path}: is not an IDX file of bytes")
    if len(payload) < start:
        raise UserError(f"{path}: is cut off in its header")
    if payload[3] != num_axes:
        raise UserError(f"{path}: has {payload[3]} axes instead of {num_axes}")
    shape = struct.unpack(f">{num_axes}I", payload[4:start])
    if len(payload) != start + math.prod(shape):
        raise UserError(f"{path}: holds {len(payload) - start} bytes, its header says {math.prod(shape)}; delete it")
    if 0 in shape:
        raise UserError(f"{path}: contains no values")
    return torch.frombuffer(bytearray(payload), dtype=torch.uint8, offset=start).view(shape)


def unpack(packed: Path, path: Path, size: int) -> None:
    """Decompress the gzip file `packed` to `path`.

    Raises:
        UserError: it is damaged, or contains more than `size` bytes.
    """
    check_regular(packed, "data.root", limit=2 * size)
    try:
        with gzip.open(packed) as file:
            payload = file.read(size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{packed}: is damaged ({error}); delete it") from error
    if len(payload) > size:
        raise UserError(f"{packed}: contains more than the {size:,} bytes that were published; delete it")
    with writing(path) as target:
        target.write(payload)
