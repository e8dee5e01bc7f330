"""Run the parts one after the other, each with its fraction of the time, and show the progress."""

import importlib.util
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scripts.torture_lib import shim
from scripts.torture_lib.forks import Forks
from scripts.torture_lib.summary import Part

# Of the whole time. What a part leaves over is for those after it.
FRACTIONS = {"files": 0.05, "races": 0.05, "exhaustive": 0.2, "kills": 0.12, "fuzz": 0.13, "sweeps": 0.45}
# Cases of a full run; None for all that exist.
CASES = {"files": None, "races": 5, "exhaustive": None, "kills": 500, "fuzz": 1000, "sweeps": None, "atheris": 100_000}


def run_parts(names: list[str], seconds: float, folder: Path, cases: int | None, seed: int) -> list[Part]:
    """Run the parts one after the other and return what they found.

    Args:
        names: names of the parts.
        seconds: time for all parts together.
        folder: folder for everything that they write.
        cases: largest number of cases of each part; None for the numbers in `CASES`.
        seed: seed of everything random.
    """
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    parts, deadline = [], time.monotonic() + seconds
    for index, name in enumerate(names):
        left = [FRACTIONS.get(other, 1.0) for other in names[index:]]
        limit = (deadline - time.monotonic()) * left[0] / sum(left)
        part = Part(name)
        parts.append(part)
        part.skipped = reason_to_skip(name)
        if not part.skipped:
            run_part(part, limit, folder / name, CASES[name] if cases is None else cases, seed)
    return parts


def reason_to_skip(name: str) -> str:
    if name in ("exhaustive", "sweeps"):
        return shim.missing()
    needed = {"fuzz": "hypothesis", "atheris": "atheris"}
    if name in needed and importlib.util.find_spec(needed[name]) is None:
        return f"{needed[name]} is not installed"
    return ""


def run_part(part: Part, limit: float, folder: Path, cases: int | None, seed: int) -> None:
    """Run cases until all are done or `limit` seconds have passed."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, auto_refresh=False) as progress, Forks(folder / "outputs") as forks:
        task = progress.add_task(part.name, total=None)
        for _ in start(part, forks, folder, cases, seed):
            part.seconds = time.monotonic() - began
            failures = f", {len(part.failures)} failures" if part.failures else ""
            progress.update(
                task, completed=part.done, total=part.planned, description=part.name + failures, refresh=True
            )
            if part.seconds > limit:
                break


def start(part: Part, forks: Forks, folder: Path, cases: int | None, seed: int) -> Iterator[None]:
    """Return an iterator that runs the cases of a part."""
    if part.name == "exhaustive":
        from scripts.torture_lib.exhaustive import Exhaustive

        return Exhaustive(forks, folder).cases(part, cases, seed)
    if part.name == "kills":
        from scripts.torture_lib.kills import Kills

        return Kills(forks, folder, seed).cases(part, cases or 500)
    if part.name == "fuzz":
        from scripts.torture_lib.fuzz import Fuzz

        return Fuzz(forks, folder).cases(part, cases or 1000, seed)
    if part.name == "files":
        from scripts.torture_lib.files import Files

        return Files(forks, folder).cases(part, cases)
    if part.name == "races":
        from scripts.torture_lib.races import Races

        return Races(forks, folder).cases(part, cases or 5)
    if part.name == "sweeps":
        from scripts.torture_lib.sweeps import Sweeps

        return Sweeps(forks, folder).cases(part, cases, seed)
    from scripts.torture_lib.coverage_fuzz import cases as atheris_cases

    return atheris_cases(part, forks, folder, cases or 100_000, seed)
