"""Decode image files to one uint8 array, once, in parallel, with a cache that detects changed files.

Pillow decodes the files, as for torchvision's `ImageFolder`: it supports more formats than `torchvision.io`, rotates
photographs upright, and decodes a large JPEG at a fraction of its size. It runs in threads, because it releases
Python's lock while it decodes. For images as small as MNIST's, two processes were slower than one thread (20,000 images
in 2.4 s instead of 1.7 s); several threads were not.
"""

import io
import os
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from leyden.data.image_files.listing import ImageFile
from leyden.data.image_files.progress import progress
from leyden.errors import UserError
from leyden.records.run_folder import writing

VERSION = 1  # of `decode`: increase it when the pixels change, so that caches are decoded again
CHUNK = 32  # files per task of a thread

Pixels = NDArray[np.uint8]


def decode(payload: bytes, shape: Sequence[int]) -> Pixels:
    """Decode the image in `payload` to uint8 [C, H, W] of `shape`: grey for one channel, colour for three.

    The image is rotated upright. Transparent pixels are blended with white. 16-bit pixels keep their upper 8 bits. The
    image is resized so that the shorter side matches (bilinear, antialiased), then centre-cropped; an image of the
    target size is unchanged. Of a GIF or TIFF with several images, the first is used. A JPEG of more than twice the
    target size is decoded at a half, a quarter or an eighth of its size.

    Raises:
        ValueError: `payload` is not an image, is damaged, or has pixels without a known range, for example floats.
    """
    channels, height, width = shape
    with _opened(payload, 2 * max(height, width)) as image:
        ImageOps.exif_transpose(image, in_place=True)
        image = _eight_bit(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if channels == 1 else "RGB")
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def _opened(payload: bytes, side: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(payload))
        image.draft(None, (side, side))
        image.load()
    except UnidentifiedImageError as error:
        raise ValueError("not an image of a known format") from error
    except Exception as error:  # Pillow's readers raise many types of errors on damaged files
        raise ValueError(f"{error}" or type(error).__name__) from error
    return image


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its pixels are 32-bit numbers without a known range")
    return image


class Cache:
    """The decoded pixels of `files`, stored in a file at `path`. They are decoded when they are first read.

    A stored cache is used if it was created from files with the same names, sizes and modification times, by the same
    `VERSION` of `decode`. Its checksum is verified at every read. If several runs start at once, one decodes and the
    others wait.

    Args:
        path: of the cache, an uncompressed .npz file.
        files: image files to decode.
        shape: [C, H, W] of each decoded image.
        folder: that contains all files.

    Raises:
        UserError: a file cannot be read or the cache cannot be written.
    """

    def __init__(self, path: Path, files: Sequence[ImageFile], shape: Sequence[int], folder: Path) -> None:
        self.path, self.files, self.shape = path, files, shape
        paths = [os.path.relpath(file.path, folder) for file in files]
        names = [(os.fsencode(path), file.size, file.modified) for path, file in zip(paths, files, strict=True)]
        self.key = blake2b(repr((VERSION, tuple(shape), names)).encode(), digest_size=16).hexdigest()
        # (name, bytes) of each file; the name is the same on every system
        self.listed = [(_portable(path), file.size) for path, file in zip(paths, files, strict=True)]

    def broken(self) -> dict[int, str]:
        """Return position of a broken file → what is wrong with it. Decodes first if necessary."""
        positions, reasons = self._from_cache("broken", "reasons")
        return dict(zip(positions.tolist(), reasons.tolist(), strict=True))

    def names(self) -> list[bytes]:
        """Return the names of the readable files, in the order of `read`: paths in `folder`, equal on every system."""
        broken = self.broken()
        return [name for position, (name, _) in enumerate(self.listed) if position not in broken]

    def read(self) -> tuple[Pixels, NDArray[np.int64]]:
        """Return images, uint8 (N, C, H, W), and labels of the readable files. Decodes first if necessary."""
        images, broken = self._from_cache("images", "broken")
        return np.delete(images, broken, axis=0) if len(broken) else images, self.labels()

    def labels(self) -> NDArray[np.int64]:
        """Return the labels of the readable files, in the order of `read`."""
        return np.delete(np.array([file.label for file in self.files], dtype=np.int64), list(self.broken()))

    def _from_cache(self, *names: str) -> list[NDArray[Any]]:
        try:
            if found := self._read(names):
                return found
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock():
                if not (found := self._read(names)):  # another run may have decoded them meanwhile
                    self._write(*decode_all(self.files, self.shape))
                    found = self._read(names)
        except OSError as error:
            raise UserError(f"data.cache: cannot use {self.path} ({error.strerror})") from error
        assert found
        return found

    def _read(self, names: Sequence[str]) -> list[NDArray[Any]] | None:
        """Return the arrays with these `names`, or None if the cache is missing, outdated or damaged."""
        if not self.path.is_file():
            return None
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return [arrays[name] for name in names] if arrays["key"] == self.key else None
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError) as error:
            print(f"{self.path} is damaged ({error}); the images are decoded again", flush=True)
            return None

    def _write(self, images: Pixels, broken: dict[int, str]) -> None:
        positions, reasons = np.array(list(broken), dtype=np.int64), np.array(list(broken.values()), dtype=np.str_)
        with writing(self.path) as file:
            np.savez(file, key=self.key, broken=positions, reasons=reasons, images=images)

    def _lock(self) -> AbstractContextManager[object]:
        lock = FileLock(self.path.with_suffix(".lock"))
        try:
            return lock.acquire(timeout=1)
        except Timeout:
            print("waiting for another run that is decoding these images", flush=True)
            return lock.acquire()


def _portable(path: str) -> bytes:
    """Return a relative path as bytes that are equal on every system: with slashes, and letters in composed form."""
    return unicodedata.normalize("NFC", path).replace(os.sep, "/").encode(errors="surrogateescape")


def decode_all(files: Sequence[ImageFile], shape: Sequence[int]) -> tuple[Pixels, dict[int, str]]:
    """Decode `files` in parallel, with a progress bar.

    Returns:
        images: uint8 (N, C, H, W), zeros where a file is broken.
        broken: position of a broken file → what is wrong with it.

    Raises:
        UserError: a file cannot be read.
    """
    images = np.zeros((len(files), *shape), dtype=np.uint8)
    broken: dict[int, str] = {}
    chunks = [range(start, min(start + CHUNK, len(files))) for start in range(0, len(files), CHUNK)]
    with closing(_in_threads(partial(_decode_chunk, files, images), chunks)) as done:
        for wrong in progress(f"decoding {len(files):,} images", done, len(chunks)):
            broken |= wrong
    return images, dict(sorted(broken.items()))


def _in_threads(
    function: Callable[[range], dict[int, str]], chunks: Sequence[range]
) -> Generator[dict[int, str], None, None]:
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(function, chunks)
    finally:  # on Ctrl-C too: otherwise Python waits until all files are decoded
        pool.shutdown(cancel_futures=True)


def _decode_chunk(files: Sequence[ImageFile], images: Pixels, positions: Iterable[int]) -> dict[int, str]:
    broken = {}
    for position in positions:
        path = Path(files[position].path)
        try:
            payload = path.read_bytes()
        except OSError as error:
            raise UserError(f"data.root: cannot read {path} ({error.strerror})") from error
        try:
            images[position] = decode(payload, images.shape[1:])
        except ValueError as error:
            broken[position] = str(error)
    return broken
