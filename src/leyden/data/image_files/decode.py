"""Image files → one uint8 array, decoded once, in parallel, and kept in a cache that notices when the files change.

Pillow reads them, as it does for torchvision's `ImageFolder`: it knows more formats than `torchvision.io`, turns
photographs upright, and decodes a large JPEG at a fraction of its size. It does so in threads: it lets go of Python's
lock while it decodes, so that photographs keep all cores busy. For pictures as small as MNIST's, two processes were
slower than one thread (20,000 in 2.4 s against 1.7 s), threads were not.
"""

import io
import os
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

VERSION = 1  # of the pixels that `decode` makes of a file
CHUNK = 32  # files that a thread decodes at once

Pixels = NDArray[np.uint8]


def decode(payload: bytes, shape: Sequence[int]) -> Pixels:
    """The image in `payload` as uint8 [C, H, W] of `shape`: grey for one channel, colour for three.

    It is turned upright, laid on white where it is transparent, and of 16 bits keeps the upper 8. It is brought to size
    by its tighter side, antialiased (bilinear), and what stands out on the other two sides is cut off equally; an image
    of the right size keeps its pixels. Of a GIF or TIFF of several images it is the first. A JPEG of more than twice
    the size is decoded at a half, a quarter or an eighth of its own.

    Raises:
        ValueError: it is no image, is damaged, or is of pixels without a range, such as floats.
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
        raise ValueError("no image of a known format") from error
    except Exception as error:  # on damaged files, Pillow's many readers raise errors of many kinds
        raise ValueError(f"{error}" or type(error).__name__) from error
    return image


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its pixels are 32-bit numbers, of which no range is known")
    return image


class Cache:
    """The pixels of `files`, in a file at `path`: there already, or else decoded and written there, once.

    What is there is used if it was made from files of the same names, sizes and times of change, by the same `VERSION`
    of `decode`. Its checksum is compared as it is read. Of several runs at once, one decodes and the others wait.

    Args:
        path: of the cache, an uncompressed .npz.
        files: to decode.
        shape: [C, H, W] of each.
        folder: that all files are in.

    Raises:
        UserError: a file cannot be read or the cache not be written.
    """

    def __init__(self, path: Path, files: Sequence[ImageFile], shape: Sequence[int], folder: Path) -> None:
        self.path, self.files, self.shape = path, files, shape
        names = [(os.fsencode(os.path.relpath(file.path, folder)), file.size, file.modified) for file in files]
        self.key = blake2b(repr((VERSION, tuple(shape), names)).encode(), digest_size=16).hexdigest()

    def broken(self) -> dict[int, str]:
        """Position among the files → what is wrong with it; decodes first if need be."""
        positions, reasons = self._from_cache("broken", "reasons")
        return dict(zip(positions.tolist(), reasons.tolist(), strict=True))

    def read(self) -> tuple[Pixels, NDArray[np.int64]]:
        """Images, uint8 (N, C, H, W), and labels of the files that are not broken; decodes first if need be."""
        images, broken = self._from_cache("images", "broken")
        labels = np.array([file.label for file in self.files], dtype=np.int64)
        return (np.delete(images, broken, axis=0), np.delete(labels, broken)) if len(broken) else (images, labels)

    def _from_cache(self, *names: str) -> list[NDArray[Any]]:
        try:
            if found := self._read(names):
                return found
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock():
                if not (found := self._read(names)):  # by now another run may have decoded them
                    self._write(*decode_all(self.files, self.shape))
                    found = self._read(names)
        except OSError as error:
            raise UserError(f"data.cache: cannot use {self.path} ({error.strerror})") from error
        assert found
        return found

    def _read(self, names: Sequence[str]) -> list[NDArray[Any]] | None:
        """The arrays of these `names`, nothing if they are not there, of other files, or damaged."""
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
            print("another run is decoding these images; waiting for it", flush=True)
            return lock.acquire()


def decode_all(files: Sequence[ImageFile], shape: Sequence[int]) -> tuple[Pixels, dict[int, str]]:
    """Decode `files` in parallel, with a progress bar.

    Returns:
        images: uint8 (N, C, H, W), zeros where a file is broken.
        broken: position → what is wrong.

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
    finally:  # also on Ctrl-C, which else would wait for all that is still to be done
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
