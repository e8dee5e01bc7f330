"""Interrupt a process at its n-th file operation: builds and configures the preloaded library `preload.c`."""

import atexit
import ctypes
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("preload.c")
VARIABLES = ("PREFIX", "MODE", "AT", "ERRNO", "STATE", "LOG", "BACKUP")


def missing() -> str:
    """Return why the library cannot be used here, or an empty string."""
    if not Path("/proc/self/fd").exists():
        return "it needs Linux"
    return "" if shutil.which("gcc") else "there is no gcc"


@cache
def library() -> Path:
    """Build the library in a temporary folder and return its path. The folder is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="leyden-torture-"))
    atexit.register(_remove, folder, os.getpid())
    path = folder / "preload.so"
    subprocess.run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(path), str(SOURCE), "-ldl"], check=True)
    return path


def _remove(folder: Path, builder: int) -> None:
    """Remove a folder, unless this process is a fork of the one that made it."""
    if os.getpid() == builder:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Fault:
    """What happens to a process.

    Args:
        prefix: only operations below this folder count.
        records: folder outside of `prefix`, on the same file system, for the counter, the log and the backups.
        mode: ``count`` (nothing happens), ``kill`` (SIGKILL), ``power`` (SIGKILL to all processes, with backups from
            which `power.cut` undoes what was not synced) or ``fail``.
        at: the number of the operation at which it happens.
        errno: error number for the mode ``fail``.
    """

    prefix: Path
    records: Path
    mode: str
    at: int = 0
    errno: int = 0

    def environment(self) -> dict[str, str]:
        (self.records / "backup").mkdir(parents=True, exist_ok=True)
        values = (self.prefix, self.mode, self.at, self.errno)
        files = (self.records / name for name in ("state", "log", "backup"))
        return {f"TORTURE_{name}": str(value) for name, value in zip(VARIABLES, (*values, *files), strict=True)}


def arm() -> None:
    """Make the library of this process read the environment variables again."""
    ctypes.CDLL(None).torture_arm()


@dataclass(frozen=True)
class Operation:
    """One line of the log. `size` is the number of bytes of a write, or the size of the opened or synced file."""

    number: int
    process: int
    name: str
    path: str
    target: str
    size: int


def read_log(records: Path) -> list[Operation]:
    """The operations in the order in which they began, of all processes."""
    path = records / "log"
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    found = []
    for line in lines:
        number, process, name, first, second, size = line.split("\t")
        found.append(Operation(int(number), int(process), name, first, second, int(size)))
    return sorted(found, key=lambda operation: operation.number)


def preloaded() -> dict[str, str]:
    """The environment of a process that loads the library."""
    before = os.environ["LD_PRELOAD"] + " " if "LD_PRELOAD" in os.environ else ""
    return {"LD_PRELOAD": f"{before}{library()}"}
