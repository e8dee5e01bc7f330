"""Where studies are kept: a journal file, SQLite or PostgreSQL."""

import fcntl
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from leyden.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL = "journal.log"


def storage_url(storage: str, folder: Path) -> str:
    """``journal:///PATH`` of the sweep's folder for ``journal``, else `storage` with an absolute path."""
    if storage == "journal":
        return f"journal:///{folder / JOURNAL}"
    if storage.startswith("sqlite:///"):
        path = Path(storage.removeprefix("sqlite:///")).resolve()
        if not path.parent.is_dir():
            raise UserError(f"sweep.storage: there is no folder {path.parent}")
        return f"sqlite:///{path}"
    return storage


def open_storage(url: str) -> "BaseStorage":
    """Optuna's storage at a `storage_url`; made if there is none."""
    from optuna.storages import RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    if url.startswith("journal:///"):
        path = url.removeprefix("journal:///")
        return JournalStorage(JournalFileBackend(path, JournalLock(Path(path))))  # type: ignore[arg-type]
    # psycopg 3, which SQLAlchemy takes for plain postgresql:// only from 2.1 on
    return RDBStorage(url.replace("postgresql://", "postgresql+psycopg://"))


class JournalLock:
    """For one writer at a time: the kernel's lock, which a killed process leaves free.

    Optuna's own is a link that stays after `kill -9`, and makes everyone wait 30 seconds.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.file: IO[str] | None = None

    def acquire(self) -> bool:
        self.file = self.journal.with_name(f".{self.journal.name}.lock").open("a")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        drop_half_line(self.journal)
        return True

    def release(self) -> None:
        assert self.file is not None
        self.file.close()
        self.file = None


def drop_half_line(path: Path) -> None:
    """Cut off what a writer that died, or a full disk, left behind the last whole line."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if not end:
            return
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
