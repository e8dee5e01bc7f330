"""Part 4: the description of a hostile or damaged file, and functions that damage any file."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECRET = "canary-secret-7f3a"  # the value of an environment variable that no run folder may read
TRACE = "RAN"  # the file that hostile code would create


@dataclass(frozen=True)
class Place:
    """The folders of one case: a copy of a run folder, a folder that nothing may change, and the working directory."""

    run: Path
    outside: Path
    work: Path
    server: str  # address of a local web server that nothing may contact

    @property
    def victim(self) -> Path:
        return self.outside / "victim.txt"


@dataclass(frozen=True)
class Case:
    """One hostile or damaged file.

    Args:
        name: what it is.
        prepare: puts it into its place.
        command: Python file or ``-c`` with its arguments; RUN, OUTSIDE, WORK and SERVER stand for the place.
        codes: allowed exit codes.
        same: if the code is 0, the run must end in the same bits as an undisturbed run.
        template: the run that is copied: ``stopped`` (before its end), ``finished`` or ``empty`` (no run).
        lines: check that an error is one line.
    """

    name: str
    prepare: Callable[[Place], None]
    command: tuple[str, ...]
    codes: tuple[int, ...] = (2,)
    same: bool = False
    template: str = "stopped"
    lines: bool = True


LOAD = (
    "-c",
    "import sys, leyden\nfrom leyden.cli import exit_codes\nwith exit_codes():\n    leyden.load(sys.argv[2])",
    "RUN",
)
RESUME = ("train.py", "resume='RUN'")
EVALUATE = ("scripts/evaluate.py", "RUN")
COMPARE = ("scripts/compare.py", "RUN")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def written(data: bytes) -> Callable[[Path], None]:
    """Replace the content."""

    def damage(path: Path) -> None:
        path.write_bytes(data)

    return damage


def missing(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    """A FIFO that nobody writes to: opening it waits forever."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def link_to(target: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return damage


def link_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def flipped(position: float, bit: int = 6) -> Callable[[Path], None]:
    """Flip one bit at a fraction of the file's length."""

    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[min(int(position * len(data)), len(data) - 1)] ^= 1 << bit
        path.write_bytes(bytes(data))

    return damage


# Name → damage that fits any file.
DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": empty,
    "half": half,
    "without its last byte": without_end,
    "random bytes": written(bytes(range(255, -1, -1)) * 8),
    "not UTF-8": written(b"\xff\xfe\x80\x81: \x00\n"),
    "a text": written(b"hello, this is something else\n"),
    "a list": written(b"[1, 2, 3]\n"),
    "a number": written(b"3\n"),
    "null": written(b"null\n"),
    "20,000 brackets": written(b"[" * 20_000),
    "a NUL byte": written(b"\0" * 100),
    "control characters": written(b"\x1b]0;title\x07\x1b[31m: \x1b[2J\n"),
    "a folder": folder,
    "a pipe": pipe,
    "a link to /dev/zero": link_to("/dev/zero"),
    "a link to itself": link_loop,
    "a link to a missing file": link_to("/nothing/here"),
    "missing": missing,
}
