"""Who works on what. A lock lives as long as the process that holds it, so who died is known at once.

No heartbeats, clocks or timeouts: the kernel frees a dead process's file locks, PostgreSQL those of a
connection that is gone.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from leyden.errors import UserError

LOCK_FILE = ".lock"


def hold(path: Path) -> None:
    """Lock a file until this process ends, once no other has it."""
    fcntl.flock(os.open(path, os.O_CREAT | os.O_WRONLY), fcntl.LOCK_EX)


class Lock(Protocol):
    """Of one trial."""

    file: IO[str]  # a child process that inherits it keeps the lock, so it must be dead too before it is free

    def release(self) -> None: ...


class Locks(Protocol):
    """Of one study."""

    def all(self) -> Any:
        """A context in which one worker at a time can be."""

    def trial(self, number: int) -> Lock | None:
        """The lock of a trial, None if another worker has it."""

    def check(self) -> None:
        """Raises an error if the locks are lost."""


class FileLock:
    """The lock file of a trial's folder."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def release(self) -> None:
        fcntl.flock(self.file, fcntl.LOCK_UN)
        self.file.close()


class FileLocks:
    """For workers that share a disk: a lock file in the sweep's folder and in each trial's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def all(self) -> Iterator[None]:
        with (self.folder / LOCK_FILE).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def trial(self, number: int) -> FileLock | None:
        folder = self.folder / str(number)
        folder.mkdir(exist_ok=True)
        file = (folder / LOCK_FILE).open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return FileLock(file)

    def check(self) -> None:
        """The kernel does not lose them."""


class PostgresLock:
    """A trial's advisory lock, and that of its folder, which other workers may share or not."""

    def __init__(self, locks: "PostgresLocks", name: str, file_lock: FileLock) -> None:
        self.locks, self.name, self.file_lock, self.file = locks, name, file_lock, file_lock.file

    def release(self) -> None:
        self.file_lock.release()
        self.locks.query("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", self.name)


class PostgresLocks:
    """For workers that share a server: its advisory locks, held by one connection as long as this process lives.

    Args:
        url: as psycopg takes it.
        study: the name of the study, which is part of each lock's name.
        folder: of the sweep on this machine.
    """

    def __init__(self, url: str, study: str, folder: Path) -> None:
        try:
            import psycopg
        except ModuleNotFoundError as error:
            raise UserError("sweep.storage: for PostgreSQL, install leyden[postgres]") from error
        self.study, self.files = study, FileLocks(folder)
        try:
            self.connection = psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError as error:
            raise UserError(f"sweep.storage: {' '.join(str(error).split())}") from error
        # By default a server waits two hours for a machine that has vanished.
        for setting, value in (("idle", 30), ("interval", 10), ("count", 3)):
            self.query("SELECT set_config(%s, %s, false)", f"tcp_keepalives_{setting}", str(value))

    def query(self, sql: str, *values: str) -> Any:
        import psycopg

        try:
            row = self.connection.execute(sql, values).fetchone()
        except psycopg.OperationalError as error:
            raise UserError(f"sweep.storage: the connection was lost ({error}); start it again") from error
        assert row is not None
        return row[0]

    @contextmanager
    def all(self) -> Iterator[None]:
        with ExitStack() as stack:
            self.query("SELECT pg_advisory_lock(hashtextextended(%s, 0))", self.study)
            stack.callback(self.query, "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", self.study)
            stack.enter_context(self.files.all())
            yield

    def trial(self, number: int) -> PostgresLock | None:
        name = f"{self.study}/{number}"
        if not self.query("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", name):
            return None
        file_lock = self.files.trial(number)
        if file_lock is None:  # a dead worker's job has not noticed yet
            self.query("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", name)
            return None
        return PostgresLock(self, name, file_lock)

    def check(self) -> None:
        self.query("SELECT 1")
