"""Where studies are stored: a journal file, SQLite or PostgreSQL."""

import fcntl
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from leyden.errors import UserError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import Trial

JOURNAL = "journal.log"


def storage_url(storage: str, folder: Path) -> str:
    """Return the URL of a storage.

    Args:
        storage: the value of ``sweep.storage``: ``journal``, ``sqlite:///FILE`` or ``postgresql://…``.
        folder: folder of the sweep, which contains the journal.

    Raises:
        UserError: the folder of an SQLite file does not exist.
    """
    if storage == "journal":
        return f"journal:///{folder / JOURNAL}"
    if storage.startswith("sqlite:///"):
        path = Path(storage.removeprefix("sqlite:///")).resolve()
        if not path.parent.is_dir():
            raise UserError(f"sweep.storage: the folder {path.parent} does not exist")
        return f"sqlite:///{path}"
    return storage


def open_storage(url: str) -> "BaseStorage":
    """Open Optuna's storage at a URL from `storage_url`. It is created if it does not exist."""
    from optuna.storages import RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    if url.startswith("journal:///"):
        path = url.removeprefix("journal:///")
        return JournalStorage(JournalFileBackend(path, JournalLock(Path(path))))  # type: ignore[arg-type]
    # SQLAlchemy selects psycopg 3 for plain postgresql:// from version 2.1 on. Older versions need its name.
    return RDBStorage(url.replace("postgresql://", "postgresql+psycopg://"))


def running_trial(study: "Study", number: int) -> "Trial":
    """Return trial `number` of a study as an object that can report and suggest.

    Optuna's public API creates such an object in `Study.ask` only, for a new trial. To continue a trial that another
    process has started, its id is needed, which is private (`FrozenTrial._trial_id`, tested with Optuna 5.0).
    """
    from optuna.trial import Trial

    return Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


class JournalLock:
    """A lock of the kernel on the journal, for one writer at a time. It is free as soon as its process is gone.

    Optuna's own lock is a symbolic link. It remains after kill -9, and then all writers wait for 30 seconds.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.file: IO[str] | None = None

    def acquire(self) -> bool:
        """Wait for the lock. Optuna requires the return value True."""
        self.file = self.journal.with_name(f".{self.journal.name}.lock").open("a")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        drop_incomplete_line(self.journal)
        return True

    def release(self) -> None:
        assert self.file is not None
        self.file.close()
        self.file = None


def drop_incomplete_line(path: Path) -> None:
    """Remove an incomplete last line, which a writer leaves that was killed or whose disk was full."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if not end:
            return
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
