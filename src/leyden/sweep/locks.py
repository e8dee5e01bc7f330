"""Locks that decide which worker runs which trial. A lock is free as soon as the process that holds it is gone.

There are no heartbeats, clocks or timeouts: the kernel frees the file locks of a dead process, and PostgreSQL frees the
locks of a closed connection.
"""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from leyden.errors import UserError
from leyden.records.run_folder import refuse_link

LOCK_FILE = ".lock"


class Lock(Protocol):
    """The lock of one trial.

    A child process that inherits `file` also holds the lock, so the lock is free only when both processes are gone.
    """

    file: IO[str]

    def release(self) -> None: ...


class Locks(Protocol):
    """The locks of one study."""

    def all(self) -> Any:
        """Return a context that only one worker at a time can enter."""

    def trial(self, number: int) -> Lock | None:
        """Lock a trial. Returns None if another worker holds its lock."""

    def check(self) -> None:
        """Raise UserError if the locks have been lost."""


class TrialFileLock:
    """The lock file in a trial's folder."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def release(self) -> None:
        fcntl.flock(self.file, fcntl.LOCK_UN)
        self.file.close()


class FileLocks:
    """Locks for workers that share a disk: a lock file in the sweep's folder, and one in the folder of each trial.

    Args:
        folder: folder of the sweep.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def all(self) -> Iterator[None]:
        with (self.folder / LOCK_FILE).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def trial(self, number: int) -> TrialFileLock | None:
        folder = self.folder / str(number)
        refuse_link(folder)
        folder.mkdir(exist_ok=True)
        file = (folder / LOCK_FILE).open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return TrialFileLock(file)

    def check(self) -> None:
        """Do nothing: the kernel does not lose file locks."""


class TrialPostgresLock:
    """The advisory lock of a trial, together with the file lock of its folder (other workers may share the folder)."""

    def __init__(self, locks: "PostgresLocks", name: str, file_lock: TrialFileLock) -> None:
        self.locks, self.name, self.file_lock, self.file = locks, name, file_lock, file_lock.file

    def release(self) -> None:
        self.file_lock.release()
        self.locks.query("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", self.name)


class PostgresLocks:
    """Locks for workers that share a PostgreSQL server: its advisory locks.

    One connection holds them as long as this process lives.

    Args:
        url: address of the server, in the form that psycopg accepts.
        study: name of the study, which is part of the name of each lock.
        folder: folder of the sweep on this machine.

    Raises:
        UserError: psycopg is not installed, or the server does not answer.
    """

    def __init__(self, url: str, study: str, folder: Path) -> None:
        try:
            import psycopg
        except ModuleNotFoundError as error:
            raise UserError('sweep.storage: PostgreSQL needs psycopg; type: pip install -e ".[postgres]"') from error
        self.study, self.files = study, FileLocks(folder)
        try:
            self.connection = psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError as error:
            raise UserError(f"sweep.storage: {' '.join(str(error).split())}") from error
        # The default of a server is to wait two hours for a machine that does not answer.
        for setting, value in (("idle", 30), ("interval", 10), ("count", 3)):
            self.query("SELECT set_config(%s, %s, false)", f"tcp_keepalives_{setting}", str(value))

    def query(self, sql: str, *values: str) -> Any:
        """Return the first value of the first row of a query. Raises UserError if the connection is lost."""
        import psycopg

        try:
            row = self.connection.execute(sql, values).fetchone()
        except psycopg.OperationalError as error:
            text = " ".join(str(error).split())
            raise UserError(f"sweep.storage: the connection was lost ({text}); start the same command again") from error
        assert row is not None
        return row[0]

    @contextmanager
    def all(self) -> Iterator[None]:
        with ExitStack() as stack:
            self.query("SELECT pg_advisory_lock(hashtextextended(%s, 0))", self.study)
            stack.callback(self.query, "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", self.study)
            stack.enter_context(self.files.all())
            yield

    def trial(self, number: int) -> TrialPostgresLock | None:
        name = f"{self.study}/{number}"
        if not self.query("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", name):
            return None
        file_lock = self.files.trial(number)
        if file_lock is None:  # the job of a dead worker has not ended yet
            self.query("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", name)
            return None
        return TrialPostgresLock(self, name, file_lock)

    def check(self) -> None:
        self.query("SELECT 1")
