"""Simulate a power cut: undo every change on the disk that was not synced.

A strict model of POSIX: a file keeps the bytes that it had at its last fsync, and a rename or an unlink lasts only once
its directory has been fsynced. New directories and the names of new files are kept.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from scripts.torture_lib.shim import Operation


def cut(operations: Sequence[Operation], backup: Path) -> int:
    """Undo what was not synced when the last of `operations` killed all processes; return the number of changes.

    Args:
        operations: all operations; the last one did not happen, or only half of it.
        backup: folder with hard links of the removed files, named by the number of the operation.
    """
    *done, last = operations
    synced, dirty = file_sizes(done)
    if last.name == "write":
        dirty.add(last.path)
    for path in dirty:
        if Path(path).is_file():
            os.truncate(path, min(synced.setdefault(path, 0), Path(path).stat().st_size))
    undone = [operation for operation in done if operation.name in ("rename", "unlink") and not lasts(operation, done)]
    for operation in reversed(undone):
        undo(operation, backup)
    return len(dirty) + len(undone)


def file_sizes(operations: Sequence[Operation]) -> tuple[dict[str, int], set[str]]:
    """The size of each file at its last fsync, and the files that were written since."""
    synced: dict[str, int] = {}
    dirty: set[str] = set()
    for operation in operations:
        path = operation.path
        if operation.name == "create":
            synced[path] = 0
            dirty.add(path)
        elif operation.name == "open":
            synced.setdefault(path, max(operation.size, 0))
        elif operation.name in ("write", "truncate"):
            dirty.add(path)
        elif operation.name == "fsync":
            synced[path] = operation.size
            dirty.discard(path)
        elif operation.name == "rename":
            synced[operation.target] = synced.pop(path, 0)
            dirty.discard(operation.target)
            if path in dirty:
                dirty.remove(path)
                dirty.add(operation.target)
        elif operation.name == "unlink":
            dirty.discard(path)
    return synced, dirty


def lasts(change: Operation, operations: Sequence[Operation]) -> bool:
    """Whether the directory of a rename or an unlink was fsynced after it."""
    folder = str(Path(change.target or change.path).parent)
    return any(
        later.name == "fsync" and later.number > change.number and later.path.rstrip("/") == folder
        for later in operations
    )


def undo(change: Operation, backup: Path) -> None:
    """Restore the file names that a rename or an unlink has changed."""
    saved = backup / str(change.number)
    if change.name == "rename" and Path(change.target).exists():
        Path(change.target).rename(change.path)
    removed = Path(change.target or change.path)
    if saved.exists() and removed.parent.is_dir() and not removed.exists():
        os.link(saved, removed)
