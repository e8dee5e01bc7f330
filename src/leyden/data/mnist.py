"""MNIST (LeCun, Cortes and Burges, 1998), read from the authors' files.

Files: ``root/MNIST/raw/*-ubyte`` in IDX format, in the same place as torchvision stores them.
"""

import gzip
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from leyden.data.download import download, md5
from leyden.data.images import ImageData
from leyden.data.loaders import Batch
from leyden.errors import UserError

# name: (MD5 of the file, MD5 of the .gz file on the mirrors)
FILES = {
    "train-images-idx3-ubyte": ("6bbc9ace898e44ae57da46a324031adb", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte": ("a25bea736e30d166cdddb491f175f624", "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte": ("2646ac647ad5339dbf082846283269ea", "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte": ("27ae3e4e09519cfbb04c329615203637", "ec29112dd5afa0611ce80d1b7f02629c"),
}


@dataclass(kw_only=True, eq=False, repr=False)
class MNIST(ImageData):
    """MNIST: 60,000 + 10,000 handwritten digits, 28x28 grey, ten classes.

    Args:
        mirrors: addresses to download from, each ending in a slash.
    """

    names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    mirrors: Sequence[str]

    @property
    def folder(self) -> Path:
        return self.root_folder / "MNIST" / "raw"

    def files(self) -> Sequence[Path]:
        return [self.folder / name for name in FILES]

    def fetch(self) -> None:
        for name, (_, packed_checksum) in FILES.items():
            path = self.folder / name
            packed = path.with_name(f"{name}.gz")
            if path.exists():
                continue
            if not packed.exists():
                mirrors = self.mirrors if self.download else ()
                download(packed.name, mirrors, self.folder, packed_checksum, wanted=str(path))
            _unpack(packed, path)

    def read(self, train: bool) -> Batch:
        prefix = "train" if train else "t10k"
        images = self._read_file(f"{prefix}-images-idx3-ubyte")[:, None]  # (N, 1, 28, 28)
        labels = self._read_file(f"{prefix}-labels-idx1-ubyte").long()
        if len(images) != len(labels):
            raise UserError(f"{self.folder}: {len(images)} images but {len(labels)} labels in the {prefix} files")
        return images, labels

    def _read_file(self, name: str) -> Tensor:
        path = self.folder / name
        if (found := md5(path)) != FILES[name][0]:
            self.unverified(f"{path}: MD5 is {found}, published is {FILES[name][0]}")
        return read_idx(path)


def read_idx(path: Path) -> Tensor:
    """Read the uint8 array in an IDX file.

    The format is: two zero bytes, the type (8 for uint8), the number of axes, the length of each axis, the values.

    Raises:
        UserError: the file does not have this format or is cut off.
    """
    payload = path.read_bytes()
    if len(payload) < 8 or payload[:3] != b"\0\0\x08":
        raise UserError(f"{path}: is not an IDX file of bytes")
    num_axes = payload[3]
    start = 4 + 4 * num_axes
    if len(payload) < start:
        raise UserError(f"{path}: is cut off in its header")
    shape = struct.unpack(f">{num_axes}I", payload[4:start])
    if len(payload) != start + math.prod(shape):
        raise UserError(f"{path}: holds {len(payload) - start} bytes, its header says {math.prod(shape)}; delete it")
    return torch.frombuffer(bytearray(payload), dtype=torch.uint8, offset=start).view(shape)


def _unpack(packed: Path, path: Path) -> None:
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(gzip.decompress(packed.read_bytes()))
    except (EOFError, gzip.BadGzipFile) as error:
        raise UserError(f"{packed}: is damaged ({error}); delete it") from error
    partial.replace(path)
