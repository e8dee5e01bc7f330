"""A cache of token ids, so that a second run on the same texts starts at once.

A file of the cache is used if its key matches, which is a hash of the text files' names, sizes and modification times
and of all settings. It holds plain arrays and no Python objects, and each array has a checksum. A damaged or foreign
file is replaced.
"""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from leyden.errors import UserError
from leyden.records.run_folder import writing

VERSION = 1  # of the content: increase it when other tokens or other arrays are stored
MAX_FILES = 20  # of a folder; the oldest ones are deleted
PREFIX = "texts-"
DAMAGE = (  # what reading a damaged file raises
    zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError, MemoryError, OverflowError,
    SyntaxError,
)  # fmt: skip

Arrays = dict[str, NDArray[Any]]


class TextCache:
    """Arrays that are made once and then read from a file.

    Args:
        folder: the folder of the cache, None for no cache.
        key: hash of everything that the arrays depend on.

    Raises:
        UserError: the cache cannot be read or written.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self.folder, self.key = folder, key

    def read(self) -> Arrays | None:
        """Return the arrays, or None if they are not stored, or the file is damaged or belongs to other texts."""
        if self.folder is None:
            return None
        path = self._path(self.folder)
        try:
            return self._arrays(path) if path.is_file() else None
        except DAMAGE as error:
            print(f"{path} is damaged ({error}); the texts are read again", flush=True)
        except OSError as error:
            raise UserError(f"data.cache: cannot read {path} ({error.strerror})") from error
        return None

    def get(self, make: Callable[[], Arrays], problem: Callable[[Arrays], str]) -> Arrays:
        """Return the stored arrays, or make and store them. If several runs start at once, the others wait.

        Args:
            make: makes the arrays.
            problem: says what is wrong with stored arrays; an empty text if nothing is.
        """
        if found := self._checked(problem):
            return found
        if self.folder is None:
            return make()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock(self.folder):
                if found := self._checked(problem):  # another run may have made them meanwhile
                    return found
                made = make()
                self._write(self.folder, made)
                return made
        except OSError as error:
            raise UserError(f"data.cache: cannot use {self.folder} ({error.strerror})") from error

    def _checked(self, problem: Callable[[Arrays], str]) -> Arrays | None:
        found = self.read()
        if found is None:
            return None
        try:
            reason = problem(found)
        except DAMAGE as error:
            reason = f"{type(error).__name__} {error}"
        if reason and self.folder is not None:
            print(f"{self._path(self.folder)} is not used ({reason}); the texts are read again", flush=True)
        return None if reason else found

    def _path(self, folder: Path) -> Path:
        return folder / f"{PREFIX}{self.key}.npz"

    def _arrays(self, path: Path) -> Arrays | None:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if any(member.compress_type != zipfile.ZIP_STORED for member in arrays.zip.infolist()):
                raise ValueError("it is compressed, so it was not written by Leyden")
            return {name: arrays[name] for name in arrays.files} if arrays["key"] == self.key else None

    def _write(self, folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        with writing(self._path(folder)) as file:
            np.savez(file, allow_pickle=False, key=np.array(self.key), **arrays)
        files = sorted(folder.glob(f"{PREFIX}*.npz"), key=lambda path: path.stat().st_mtime_ns)
        for path in files[:-MAX_FILES]:
            path.unlink(missing_ok=True)

    def _lock(self, folder: Path) -> AbstractContextManager[object]:
        lock = FileLock(folder / ".texts.lock")
        try:
            return lock.acquire(timeout=1)
        except Timeout:
            print("waiting for another run that is reading texts", flush=True)
            return lock.acquire()
