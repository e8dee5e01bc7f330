"""Part 1, for sweeps: interrupt a sweep of three trials at every file operation of its processes."""

import errno
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts.torture_lib import power, words
from scripts.torture_lib.exhaustive import BROKEN, FULL, KILL, POWER, WAYS
from scripts.torture_lib.forks import ROOT, Ended, Forks
from scripts.torture_lib.same_bits import differences, end_state
from scripts.torture_lib.shim import Fault, read_log
from scripts.torture_lib.summary import Part

SCRIPT = str(ROOT / "scripts" / "torture_lib" / "forked_sweep.py")
TRIALS = 3
SWEEP = words(
    "-m model=mlp model.hidden=[8] data=digits data.limit=0.1 data.batch_size=16 trainer=cpu "
    "trainer.max_epochs=1 checkpoint.every_n_steps=5 logger=none sweep.name=x hydra.launcher.warm=false "
    "optimizer.lr=choice(0.1,0.01,0.001)"
)
STARTS = 4  # of the same command, until the sweep is finished


class Sweeps:
    """Interrupts one sweep at every file operation.

    Args:
        forks: the fork server in which the sweeps run.
        folder: folder for their logs.
    """

    def __init__(self, forks: Forks, folder: Path) -> None:
        self.forks, self.folder = forks, folder
        ended = self._start(folder / "alone", Fault(folder / "alone", folder / "records", "count"))
        if ended.code:
            raise RuntimeError(f"the undisturbed sweep failed:\n{ended.output}")
        self.operations = read_log(folder / "records")
        self.expected = [end_state(folder / "alone" / "sweeps" / "x" / str(number)) for number in range(TRIALS)]

    def cases(self, part: Part, sample: int | None, seed: int = 0) -> Iterator[None]:
        total = len(self.operations)
        cases: list[tuple[str, int]] = [(way, at) for at in range(1, total + 1) for way in WAYS]
        random.Random(seed).shuffle(cases)
        cases.sort(key=lambda case: case[0] != KILL)  # a sweep takes seconds, so the kills come first
        part.planned = min(len(cases), sample or len(cases))
        part.facts["operations of one sweep"] = total
        part.facts["processes"] = len({operation.process for operation in self.operations})
        for way, at in cases[:sample]:
            self._case(part, way, at)
            part.done += 1
            yield

    def _start(self, logs: Path, fault: Fault | None = None, overrides: Sequence[str] = ()) -> Ended:
        return self.forks.run([SCRIPT, *SWEEP, f"paths.logs={logs}", *overrides], fault=fault)

    def _case(self, part: Part, way: str, at: int) -> None:
        logs, records = self.folder / "logs", self.folder / "records"
        for old in (logs, records):
            shutil.rmtree(old, ignore_errors=True)
        number = {FULL: errno.ENOSPC, BROKEN: errno.EIO}.get(way, 0)
        ended = self._start(logs, Fault(logs, records, "fail" if number else way, at, number))
        operations = read_log(records)
        part.count(way)
        hit: Any = operations[at - 1] if len(operations) >= at else None
        what = f"{hit.name} {Path(hit.path).name}" if hit else "not reached"
        command = f"{way} at file operation {at} ({what}) of: python train.py {' '.join(SWEEP)}"
        if "Traceback" in ended.output:
            part.fail(command, f"a traceback, exit code {ended.code}", ended.output)
        if way == POWER and hit:
            part.add("changes undone", power.cut(operations[:at], records / "backup"))
        for _ in range(STARTS):
            if ended.code == 0 and way not in (POWER,):
                break
            # A trial that failed because of the disk is tried again only on request.
            ended = self._start(logs, overrides=["sweep.retry_failed=true"] if number else [])
            way = ""
        if ended.code != 0:
            part.fail(command, f"the sweep still ends with {ended.code} after {STARTS} starts", ended.output)
            return
        part.count("compared sweeps")
        for trial, expected in enumerate(self.expected):
            if found := differences(end_state(logs / "sweeps" / "x" / str(trial)), expected):
                part.different(f"trial {trial}: {command}", found)
