"""Decode image files to one uint8 array, once, in parallel, with a cache that detects changed files.

Pillow decodes the files, as for torchvision's `ImageFolder`: it supports more formats than `torchvision.io`, rotates
photographs upright, and decodes a large JPEG at a fraction of its size. It runs in threads, because it releases
Python's lock while it decodes. Processes would not be faster: for images as small as MNIST's, two processes took 2.4 s
for 20,000 images, and one thread took 1.7 s.
"""

import io
import os
import unicodedata
import warnings
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from hashlib import blake2b
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from leyden.data.file_access import read_bytes
from leyden.data.image_files.listing import ImageFile
from leyden.data.image_files.progress import progress
from leyden.data.large import npz_array, take, zeros
from leyden.errors import UserError
from leyden.records.run_folder import writing

VERSION = 1  # of `decode`: increase it when the pixels change, so that caches are decoded again
CHUNK = 32  # files per task of a thread

DAMAGE = (  # what reading a damaged cache raises
    zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError, MemoryError, OverflowError,
    SyntaxError,
)  # fmt: skip
MAX_BYTES = 200_000_000  # of a file
MAX_PIXELS = 50_000_000  # of an image, after the reduction of a JPEG; decoding one may take 800 MB
# Of files with more bytes or images with more pixels, one is decoded at a time, which limits the memory.
LARGE_BYTES, LARGE_PIXELS = 20_000_000, 10_000_000
Image.init()  # registers the formats
# Pillow's own limits are higher. Its warning would be a second message about an image that is rejected.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Those that this Pillow reads, without EPS: Pillow would run another program for it.
FORMATS: list[str] = [
    name for name in ("AVIF", "BMP", "DIB", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP") if name in Image.OPEN
]

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

Pixels = NDArray[np.uint8]

_one_large = RLock()


def decode(payload: bytes, shape: Sequence[int]) -> Pixels:
    """Decode the image in `payload` to uint8 [C, H, W] of `shape`: grey for one channel, colour for three.

    The image is rotated upright. Transparent pixels are blended with white. 16-bit pixels keep their upper 8 bits. The
    image is resized so that the shorter side matches (bilinear, antialiased), then centre-cropped; an image of the
    target size is unchanged. Of a GIF or TIFF with several images, the first is used. A JPEG of more than twice the
    target size is decoded at a half, a quarter or an eighth of its size.

    Raises:
        ValueError: `payload` is not an image, is damaged, or has pixels without a known range, for example floats.
    """
    _, height, width = shape
    image = _opened(payload, 2 * max(height, width))
    large = image.width * image.height > LARGE_PIXELS
    with _one_large if large else nullcontext(), image:
        _load(image)
        ImageOps.exif_transpose(image, in_place=True)
        return fitted(image, shape)


def fitted(image: Image.Image, shape: Sequence[int]) -> Pixels:
    """Convert an upright image of any mode and size to uint8 [C, H, W] of `shape`, as `decode` describes it.

    Raises:
        ValueError: its pixels have no known range, for example floats.
    """
    channels, height, width = shape
    image = _eight_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def _opened(payload: bytes, side: int) -> Image.Image:
    formats = _heic_formats() if is_heic(payload) else FORMATS
    try:
        image = Image.open(io.BytesIO(payload), formats=formats)
        image.draft(None, (side, side))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels, more than the {MAX_PIXELS:,} that are read")
    except Image.DecompressionBombError as error:
        raise ValueError(f"more than the {MAX_PIXELS:,} pixels that are read") from error
    except UnidentifiedImageError as error:
        raise ValueError("not an image of a known format") from error
    except Exception as error:  # Pillow's readers raise errors of many types on damaged files
        raise ValueError(f"{error}" or type(error).__name__) from error
    return image


def is_heic(payload: bytes) -> bool:
    """Whether `payload` is a HEIC file, as iPhones write them. AVIF files look similar."""
    return payload[4:8] == b"ftyp" and payload[8:12] in HEIC_BRANDS and b"avif" not in payload[16:64]


def _heic_formats() -> list[str]:
    """Register the reader of HEIC files in Pillow, and return its format. Other files never reach it.

    Raises:
        ValueError: the optional package is missing.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise ValueError('HEIC, which needs pillow-heif: pip install -e ".[heic]"') from error
    register_heif_opener(thumbnails=False)
    return ["HEIF"]


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception as error:  # as above
        raise ValueError(f"{error}" or type(error).__name__) from error


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
        path: path of the cache, an uncompressed .npz file.
        files: image files to decode.
        shape: [C, H, W] of each decoded image.
        folder: folder that contains all files.

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
        if len(broken):
            kept = torch.ones(len(images), dtype=torch.bool)
            kept[torch.from_numpy(broken)] = False
            images = take(torch.from_numpy(images), kept).numpy()
        return images, self.labels()

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
                if any(member.compress_type != zipfile.ZIP_STORED for member in arrays.zip.infolist()):
                    raise ValueError("it is compressed, so it was not written by Leyden")
                if arrays["key"] != self.key:
                    return None
                return [npz_array(arrays, name, self.path) for name in names]
        except DAMAGE as error:
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
    """Return a relative path as bytes that are equal on every system: with slashes, in Unicode's form NFC."""
    return unicodedata.normalize("NFC", path).replace(os.sep, "/").encode(errors="surrogateescape")


def decode_all(files: Sequence[ImageFile], shape: Sequence[int]) -> tuple[Pixels, dict[int, str]]:
    """Decode `files` in parallel, with a progress bar.

    Returns:
        images: uint8 (N, C, H, W), zeros where a file is broken.
        broken: position of a broken file → what is wrong with it.

    Raises:
        UserError: a file cannot be read.
    """
    images = allocate((len(files), *shape))
    broken: dict[int, str] = {}
    chunks = [range(start, min(start + CHUNK, len(files))) for start in range(0, len(files), CHUNK)]
    with closing(_in_threads(partial(_decode_chunk, files, images), chunks)) as done:
        for wrong in progress(f"decoding {len(files):,} images", done, len(chunks)):
            broken |= wrong
    return images, dict(sorted(broken.items()))


def allocate(shape: Sequence[int]) -> Pixels:
    """Return zeros, uint8.

    Raises:
        UserError: there is not enough space for them.
    """
    try:
        return zeros(shape)
    except (ValueError, MemoryError, OSError) as error:
        reason = str(error) or "does not fit into the memory"
        raise UserError(f"data.shape: got {list(shape[1:])}; an array of {shape[0]:,} such images {reason}") from error


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
        file = files[position]
        if file.size > MAX_BYTES:
            broken[position] = f"{file.size:,} bytes, more than the {MAX_BYTES:,} that are read"
            continue
        with _one_large if file.size > LARGE_BYTES else nullcontext():
            payload = read_bytes(Path(file.path), "data.root")
            try:
                images[position] = decode(payload, images.shape[1:])
            except ValueError as error:
                broken[position] = str(error)
    return broken
