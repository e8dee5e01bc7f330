"""The journal file that stores a study: one JSON object per line, each with a checksum.

Optuna and its dashboard can read the file. Lines that they append have no checksum and are accepted.
"""

import fcntl
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from optuna.storages.journal import BaseJournalBackend

from leyden.errors import UserError
from leyden.sweep.identity import check_regular

CHECKSUM = re.compile(rb',"crc":"([0-9a-f]{8})"}\n$')


class CheckedJournal(BaseJournalBackend):
    """A journal file whose lines are checked when they are read.

    Args:
        path: the file. It is created if it does not exist.

    Raises:
        UserError: the file cannot be created or is a link or a pipe; or a line is damaged (raised when it is read).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = JournalLock(path)
        self.offsets = [0]  # of each line that has been read, and of the next one
        check_regular(path)
        try:
            path.touch()
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror})") from error

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the objects from a line number on. An incomplete last line is left out: a writer may be writing it."""
        number = min(log_number_from, len(self.offsets) - 1)
        with self.path.open("rb") as file:
            file.seek(self.offsets[number])
            for line in file:
                if not line.endswith(b"\n"):
                    return
                number += 1
                if number == len(self.offsets):
                    self.offsets.append(self.offsets[-1] + len(line))
                if number > log_number_from:
                    yield self._parse(line, number)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append objects, and wait until they are on the disk."""
        self.lock.acquire()
        try:
            with self.path.open("ab") as file:
                file.write(b"".join(map(checked_line, logs)))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror})") from error
        finally:
            self.lock.release()

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        checksum = CHECKSUM.search(line)
        text = line[: checksum.start()] + b"}" if checksum else line
        damaged = UserError(
            f"{self.path}: line {number} is damaged. Restore the file, or start the sweep under another sweep.name"
        )
        if checksum and int(checksum[1], 16) != zlib.crc32(text):
            raise damaged
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise damaged from error
        if not isinstance(values, dict) or type(values.get("op_code")) is not int or "worker_id" not in values:
            raise damaged
        return values


def checked_line(values: dict[str, Any]) -> bytes:
    """Return an object as a line of JSON whose last key is the CRC-32 of the line without this key."""
    text = json.dumps(values, separators=(",", ":")).encode()
    return text[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(text)


class JournalLock:
    """A lock of the kernel on the journal, for one writer at a time. It is free as soon as its process is gone.

    Optuna's own lock is a symbolic link. It remains after kill -9, and then all writers wait for 30 seconds.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.file: IO[str] | None = None

    def acquire(self) -> None:
        """Wait for the lock, and remove the incomplete line of a writer that was killed."""
        self.file = self.journal.with_name(f".{self.journal.name}.lock").open("a")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        drop_incomplete_line(self.journal)

    def release(self) -> None:
        """Free the lock."""
        assert self.file is not None
        self.file.close()
        self.file = None


def drop_incomplete_line(path: Path) -> None:
    """Remove an incomplete last line. It remains if a writer was killed or if the disk was full."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if not end:
            return
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
