"""Part 2: kill runs of many kinds at random moments, resume them each time, and compare the final bits."""

import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.torture_lib.exhaustive import only_run, resumable
from scripts.torture_lib.forks import TRAIN, Ended, Forks
from scripts.torture_lib.kinds import EVERY, KINDS, SLOW
from scripts.torture_lib.same_bits import differences, end_state
from scripts.torture_lib.summary import Part

KILLS_PER_RUN = 5


class Kills:
    """Kills runs at random moments and resumes them.

    Args:
        forks: the fork server in which the runs take place.
        folder: folder for their logs.
    """

    def __init__(self, forks: Forks, folder: Path, seed: int = 0) -> None:
        self.forks, self.folder, self.random = forks, folder, random.Random(seed)
        self.expected: dict[str, tuple[dict[str, Any], float]] = {}

    def cases(self, part: Part, kills: int, kinds: tuple[str, ...] = tuple(KINDS)) -> Iterator[None]:
        """Kill until `kills` processes were killed, one kind of run after the other; yield after each run."""
        fast, slow = ([kind for kind in kinds if (kind in SLOW) == wanted] for wanted in (False, True))
        part.planned, number = kills, 0
        while part.counts["kills"] < kills:
            pool = slow if slow and (number % EVERY == EVERY - 1 or not fast) else fast
            self._case(part, pool[(number // EVERY if pool is slow else number) % len(pool)])
            part.done = part.counts["kills"]
            part.facts["kinds of run"] = len(self.expected)
            number += 1
            yield

    def _case(self, part: Part, kind: str) -> None:
        command = f"python train.py {KINDS[kind]}"
        overrides = KINDS[kind].split()
        if kind not in self.expected:
            alone = self.folder / kind.replace(" ", "_")
            ended = self.forks.train(*overrides, f"paths.logs={alone}", seconds=300)
            if ended.code:
                part.fail(command, f"the undisturbed run ended with {ended.code}", ended.output)
                return
            self.expected[kind] = end_state(only_run(alone)), ended.seconds
        state, seconds = self.expected[kind]
        logs = self.folder / "logs"
        shutil.rmtree(logs, ignore_errors=True)
        kills = 0
        while True:
            folder = resumable(logs)
            if not folder:
                shutil.rmtree(logs, ignore_errors=True)
            arguments = [f"resume={folder}"] if folder else [*overrides, f"paths.logs={logs}"]
            result = self._run(arguments, self.random.uniform(0, seconds) if kills < KILLS_PER_RUN else 300)
            if result is not None:
                ended = result
                break
            kills += 1
            part.count("kills")
        if ended.code:
            part.fail(f"{kills} kills and resumes of: {command}", f"exit code {ended.code}", ended.output)
            return
        part.count("compared runs")
        if found := differences(end_state(only_run(logs)), state):
            part.different(f"{kills} kills and resumes of: {command}", found)

    def _run(self, arguments: list[str], seconds: float) -> Ended | None:
        """Run until the end, or kill the first process after `seconds` and return None."""
        case = self.forks.start([TRAIN, *arguments])
        ended = self.forks.wait(case, seconds, kill=False)
        if ended is not None:
            return ended
        os.kill(case.process, signal.SIGKILL)
        self.forks.wait(case, 30)
        return None
