"""Arrays that may be larger than the memory.

An array above a quarter of the memory is mapped to a file. The system reads its pages when they are used, and drops
those that have not been used for long.
"""

import math
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leyden.data.file_access import GB, memory
from leyden.errors import UserError

CHUNK = 64 << 20  # bytes that are copied at once
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
LENGTHS, LOCAL_HEADER = 26, 30  # positions in the header of a member of a zip file: of two lengths, and of its end


def is_large(num_bytes: int) -> bool:
    """Whether an array of this size is mapped to a file: it is larger than a quarter of the machine's memory."""
    return os.name == "posix" and num_bytes > memory() // 4


def check_space(num_bytes: int) -> None:
    """Check that there is space for an array: in memory, or on the disk if it is large.

    Raises:
        ValueError: there is not. The message has no key: "needs 900.0 GB, …".
    """
    folder = temporary_folder()
    if is_large(num_bytes) and num_bytes > (free := shutil.disk_usage(folder).free):
        raise ValueError(
            f"needs {num_bytes / GB:,.1f} GB, but {folder} has {free / GB:,.1f} GB of space. Set TMPDIR to a folder on "
            "a larger disk, or choose less data"
        )


def temporary_folder() -> Path:
    """Return the folder for large arrays: TMPDIR, or a folder that is on a disk. /tmp is often in the memory."""
    on_disk = Path("/var/tmp")
    return Path(tempfile.gettempdir()) if "TMPDIR" in os.environ or not on_disk.is_dir() else on_disk


def zeros(shape: Sequence[int]) -> NDArray[np.uint8]:
    """Return zeros, uint8. A large array is mapped to a file without a name, which is gone when the process ends.

    Raises:
        ValueError: there is not enough space, see `check_space`.
    """
    num_bytes = math.prod(shape)
    check_space(num_bytes)
    if not is_large(num_bytes):
        return np.zeros(tuple(shape), dtype=np.uint8)
    with tempfile.TemporaryFile(dir=temporary_folder()) as file:
        # Reserve the space: if the disk were full later, writing to the memory would end the process.
        os.posix_fallocate(file.fileno(), 0, num_bytes)
        return np.memmap(file, np.uint8, "r+", shape=tuple(shape))


def take(values: Tensor, mask: Tensor) -> Tensor:
    """Return ``values[mask]``. A large uint8 result is copied in pieces into an array of `zeros`.

    Args:
        values: (N, ...)
        mask: bool (N,)

    Raises:
        UserError: there is not enough space.
    """
    row = math.prod(values.shape[1:]) * values.element_size()
    positions = mask.nonzero().flatten()
    if values.dtype != torch.uint8 or not is_large(row * len(positions)):
        return values[mask]
    try:
        taken = torch.from_numpy(zeros((len(positions), *values.shape[1:])))
    except ValueError as error:
        raise UserError(f"data.limit: a split {error}") from error
    for part in pieces(len(positions), row):
        taken[part] = values[positions[part]]
    return taken


def pieces(num: int, row: int) -> Iterator[slice]:
    """Divide `num` rows of `row` bytes into pieces of at most `CHUNK` bytes, at least one row each."""
    step = max(1, CHUNK // max(1, row))
    return (slice(start, min(start + step, num)) for start in range(0, num, step))


def npz_array(arrays: Any, name: str, path: Path) -> NDArray[Any]:
    """Return an array of an uncompressed .npz file after its checksum was verified. A large one is mapped, not read.

    Args:
        arrays: the file, opened by `numpy.load`.
        name: name of the array.
        path: path of the file.

    Raises:
        zipfile.BadZipFile, KeyError, ValueError: the file is damaged.
    """
    member = arrays.zip.getinfo(f"{name}.npy")
    if not is_large(member.file_size):
        found: NDArray[Any] = arrays[name]
        return found
    with arrays.zip.open(member) as file:
        shape, _, dtype = HEADERS[np.lib.format.read_magic(file)](file)
        start = file.tell()
        while file.read(CHUNK):  # the last one raises an error if the checksum is wrong
            continue
    with path.open("rb") as file:
        file.seek(member.header_offset + LENGTHS)
        start += member.header_offset + LOCAL_HEADER + sum(struct.unpack("<HH", file.read(4)))
    return np.memmap(path, dtype, "c", start, shape)
