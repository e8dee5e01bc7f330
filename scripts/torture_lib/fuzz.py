"""Part 3: run generated command lines. Each must end in time, with a documented exit code and without a traceback."""

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from scripts.torture_lib.forks import Ended, Forks
from scripts.torture_lib.summary import Part

SECONDS = 20
COMPILE_SECONDS = 120  # torch.compile calls a C++ compiler for each kernel
MEMORY = 3 << 30  # bytes in addition to what the imports take
CODES = (0, 2, 3)


class Fuzz:
    """Runs generated command lines.

    Args:
        forks: the fork server in which the runs take place.
        folder: each run has a new working directory below it.
    """

    def __init__(self, forks: Forks, folder: Path) -> None:
        self.forks, self.folder = forks, folder

    def cases(self, part: Part, number: int, seed: int) -> Iterator[None]:
        from scripts.torture_lib.lines import lines

        found = lines(number, seed)
        part.planned = len(found)
        for line in found:
            self._case(part, line)
            part.done += 1
            yield

    def _case(self, part: Part, line: list[str]) -> None:
        work = self.folder / "cwd" / "1" / "2" / "3"
        shutil.rmtree(self.folder / "cwd", ignore_errors=True)
        work.mkdir(parents=True)
        # The last override of a key counts, so a generated paths.logs replaces this one.
        ended = self.forks.train("paths.logs=logs", *line, cwd=work, memory=MEMORY, seconds=time_limit(line))
        part.count(f"exit code {ended.code}" if ended.code is not None else "past the time limit")
        if wrong := verdict(ended):
            part.fail(f"python train.py {shlex.join(line)}", wrong, ended.output)
        outside = [path for path in (self.folder / "cwd").rglob("*") if work not in (path, *path.parents)]
        if outside := [path for path in outside if path not in work.parents]:
            part.fail(f"python train.py {shlex.join(line)}", f"it wrote outside of its folder: {outside[0]}", "")


def time_limit(line: list[str]) -> float:
    """Return the seconds that a command line may take: more if other processes use the machine."""
    seconds = COMPILE_SECONDS if any(override.endswith("trainer.compile=true") for override in line) else SECONDS
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def verdict(ended: Ended) -> str:
    """Return what is wrong with the way in which a command ended, or an empty string."""
    if "Traceback (most recent" in ended.output:
        return f"a traceback, exit code {ended.code}"
    if ended.code is None:
        return "" if "epoch 1/" in ended.output else "no end within the time limit"
    if ended.code not in CODES:
        return f"exit code {ended.code}"
    errors = [line for line in ended.output.splitlines() if line.startswith("error:")]
    if (ended.code in (2, 3)) != (len(errors) == 1):
        return f"exit code {ended.code} and {len(errors)} error lines"
    return ""
