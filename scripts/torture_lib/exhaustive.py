"""Part 1: interrupt a small training at every single file operation, and resume it each time."""

import errno
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.torture_lib import power, words
from scripts.torture_lib.forks import Ended, Forks
from scripts.torture_lib.same_bits import differences, end_state
from scripts.torture_lib.shim import Fault, Operation, read_log
from scripts.torture_lib.summary import Part

RUN = words(
    "model=cnn data=digits trainer=cpu data.limit=0.1 data.batch_size=16 data.shift=1 model.dropout=0.2 "
    "trainer.max_epochs=2 checkpoint.every_n_steps=5"
)
KILL, POWER, FULL, BROKEN = "kill", "power", "ENOSPC", "EIO"
WAYS = (KILL, POWER, FULL, BROKEN)


@dataclass
class Interrupted:
    """One interrupted run: its folders, how it ended and what it did until then."""

    logs: Path
    way: str
    at: int
    ended: Ended
    operations: list[Operation]

    @property
    def command(self) -> str:
        last = self.operations[-1] if self.operations else None
        what = f"{last.name} {Path(last.path).name}" if last else ""
        return f"{self.way} at file operation {self.at} ({what}) of: python train.py {' '.join(RUN)}"


class Exhaustive:
    """Interrupts one training at every file operation.

    Args:
        forks: the fork server in which the runs take place.
        folder: folder for their logs; cleaned after each case.
    """

    def __init__(self, forks: Forks, folder: Path) -> None:
        self.forks, self.folder = forks, folder
        ended = self._start(folder / "alone", Fault(folder / "alone", folder / "records", "count"))
        if ended.code:
            raise RuntimeError(f"the undisturbed run failed:\n{ended.output}")
        self.total = len(read_log(folder / "records"))
        self.expected = end_state(only_run(folder / "alone"))

    def cases(self, part: Part, sample: int | None = None, seed: int = 0) -> Iterator[None]:
        """Run every case, or `sample` random ones, and yield after each."""
        cases = [(way, at) for at in range(1, self.total + 1) for way in WAYS]
        random.Random(seed).shuffle(cases)  # so that a run that is cut short has covered everything evenly
        part.planned = min(len(cases), sample or len(cases))
        part.facts["operations of one run"] = self.total
        for way, at in cases[:sample]:
            self._case(part, way, at)
            part.done += 1
            yield

    def _start(self, logs: Path, fault: Fault | None = None) -> Ended:
        return self.forks.train(*RUN, f"paths.logs={logs}", fault=fault)

    def _case(self, part: Part, way: str, at: int) -> None:
        logs, records = self.folder / "logs", self.folder / "records"
        for old in (logs, records):
            shutil.rmtree(old, ignore_errors=True)
        number = {FULL: errno.ENOSPC, BROKEN: errno.EIO}.get(way, 0)
        fault = Fault(logs, records, "fail" if number else way, at, number)
        case = Interrupted(logs, way, at, self._start(logs, fault), read_log(records))
        part.count(way)
        if number:
            self._check_failure(part, case)
        elif case.ended.code == -9:
            if way == POWER:
                part.add("changes undone", power.cut(case.operations, records / "backup"))
        elif len(case.operations) >= at:
            part.fail(case.command, f"it ended with {case.ended.code}, not by the kill", case.ended.output)
        self._check_resume(part, case)

    def _check_failure(self, part: Part, case: Interrupted) -> None:
        """Check the end of a run whose disk was full or broken: exit code 2 with one line, or 0 if nothing was lost."""
        lines = [line for line in case.ended.output.splitlines() if line.startswith("error:")]
        if case.ended.code == 0 and (only_run(case.logs) / "report.json").exists():
            part.count("went on")
        elif case.ended.code != 2 or len(lines) != 1 or "Traceback" in case.ended.output:
            part.fail(case.command, f"exit code {case.ended.code}, {len(lines)} error lines", case.ended.output)

    def _check_resume(self, part: Part, case: Interrupted) -> None:
        saves = [one for one in case.operations[:-1] if one.name == "rename" and one.target.endswith("last.ckpt")]
        folder = resumable(case.logs)
        if folder is None:
            if saves[:-1]:
                part.fail(case.command, "there were checkpoints, and nothing is left to resume", "")
            shutil.rmtree(case.logs, ignore_errors=True)
            ended = self._start(case.logs)
        else:
            kept = [folder / "checkpoints" / name for name in ("last.ckpt", "previous.ckpt")]
            if saves[:-1] and not any(path.exists() for path in kept):
                part.fail(case.command, f"{len(saves)} checkpoints were written and none is left", "")
            ended = self.forks.train(f"resume={folder}")
        if ended.code:
            part.fail(case.command, f"the resume ended with {ended.code}", ended.output)
            return
        part.count("compared")
        # After a power cut the event file lacks what the operating system had not yet written: see docs/reliability.md.
        found = differences(end_state(folder or only_run(case.logs)), self.expected, curves_too=case.way != POWER)
        if found:
            part.different(case.command, found)


def only_run(logs: Path) -> Path:
    (folder,) = logs.glob("runs/*/*")
    return folder


def resumable(logs: Path) -> Path | None:
    """The run folder that a user would resume; None if the run must be started again."""
    found: list[Any] = [folder for folder in logs.glob("runs/*/*") if (folder / "config.yaml").exists()]
    return found[0] if found else None
