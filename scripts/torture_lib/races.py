"""Part 5: several processes want the same run or the same sweep. The second is rejected, and nothing is lost."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scripts.torture_lib import words
from scripts.torture_lib.exhaustive import only_run
from scripts.torture_lib.forks import TRAIN, Case, Ended, Forks
from scripts.torture_lib.same_bits import differences, end_state
from scripts.torture_lib.summary import Part
from scripts.torture_lib.sweeps import SCRIPT as FORKED

EPOCHS = 25  # long enough for a second process to come
RUN = (
    f"model=mlp data=digits trainer=cpu data.limit=0.2 trainer.max_epochs={EPOCHS} checkpoint.every_n_steps=2 "
    "early_stopping.patience=99"
).split()
SWEEP = words(
    "-m model=mlp model.hidden=[8] data=digits data.limit=0.1 trainer=smoke logger=none sweep.name=race "
    "optimizer.lr=choice(0.1,0.01,0.001)"
)


class Races:
    """Lets several processes compete for one run or one sweep.

    Args:
        forks: the fork server in which the runs take place.
        folder: folder for their logs.
    """

    def __init__(self, forks: Forks, folder: Path) -> None:
        self.forks, self.folder = forks, folder
        self.expected: dict[str, Any] = {}

    def cases(self, part: Part, times: int) -> Iterator[None]:
        """Run each scenario `times` times."""
        self.prepare()
        yield from self._repeated(part, times)

    def prepare(self) -> None:
        """Train the undisturbed run."""
        ended = self.forks.train(*RUN, f"paths.logs={self.folder / 'alone'}")
        assert ended.code == 0, ended.output
        self.expected = end_state(only_run(self.folder / "alone"))

    def _repeated(self, part: Part, times: int) -> Iterator[None]:
        scenarios: list[Callable[[Part, Path], None]] = [
            self.two_resumes,
            self.resume_of_a_living_run,
            self.trial_in_a_living_run,
            self.three_workers,
            self.two_sweeps_with_one_name,
        ]
        part.planned = times * len(scenarios)
        for number in range(part.planned):
            logs = self.folder / "logs"
            shutil.rmtree(logs, ignore_errors=True)
            scenarios[number % len(scenarios)](part, logs)
            part.count(scenarios[number % len(scenarios)].__name__.replace("_", " "))
            part.done += 1
            yield

    def two_resumes(self, part: Part, logs: Path) -> None:
        self._stopped(logs)
        command = [TRAIN, f"resume={only_run(logs)}"]
        cases = [self.forks.start(command) for _ in range(2)]
        self._one_wins(part, "two processes with resume=RUN at once", logs, cases)

    def resume_of_a_living_run(self, part: Part, logs: Path) -> None:
        first = self._living(logs)
        second = self.forks.start([TRAIN, f"resume={only_run(logs)}"])
        self._one_wins(part, "resume=RUN while RUN is trained", logs, [first, second])

    def trial_in_a_living_run(self, part: Part, logs: Path) -> None:
        """A trial's folder is a link to the folder of a run that is being trained."""
        first = self._living(logs)
        sweep = logs / "sweeps" / "race"
        sweep.mkdir(parents=True)
        (sweep / "0").symlink_to(only_run(logs))
        second = self.forks.start([FORKED, *SWEEP, f"paths.logs={logs}"])
        ended = [self._end(case) for case in (first, second)]
        text = "a sweep whose trial folder 0 is a link to a living run"
        if ended[1].code not in (1, 2) or "Traceback" in ended[1].output:
            part.fail(text, f"the sweep ended with {ended[1].code}", ended[1].output)
        self._unharmed(part, text, logs, ended[0])

    def three_workers(self, part: Part, logs: Path) -> None:
        """Three workers of one sweep: no trial is lost, none runs twice."""
        cases = [self.forks.start([FORKED, *SWEEP, f"paths.logs={logs}"]) for _ in range(3)]
        ended = [self._end(case) for case in cases]
        text = f"three workers at once: python train.py {' '.join(SWEEP)}"
        for one in ended:
            if one.code != 0 or "Traceback" in one.output:
                part.fail(text, f"a worker ended with {one.code}", one.output)
        reports = sorted(path.parent.name for path in logs.glob("sweeps/race/*/report.json"))
        if reports != ["0", "1", "2"]:
            part.fail(text, f"reports of the trials {reports}", "")
        outputs = [path for path in logs.glob("sweeps/race/*/output.log") if path.read_text().count("writing to") != 1]
        if outputs:
            part.fail(text, f"{len(outputs)} trials ran more than once", outputs[0].read_text())

    def two_sweeps_with_one_name(self, part: Part, logs: Path) -> None:
        """The second searches something else under the same name."""
        first = self.forks.start([FORKED, *SWEEP, f"paths.logs={logs}"])
        other = [*SWEEP[:-1], "model.dropout=choice(0.1,0.2)", f"paths.logs={logs}"]
        second = self.forks.start([FORKED, *other])
        ended = [self._end(case) for case in (first, second)]
        text = "two different sweeps with the same sweep.name"
        codes = sorted(-1 if one.code is None else one.code for one in ended)
        if codes != [0, 2]:
            part.fail(text, f"exit codes {codes}", "".join(one.output for one in ended))
        for one in ended:
            lines = [line for line in one.output.splitlines() if line.startswith("error:")]
            if "Traceback" in one.output or (one.code == 2 and len(lines) != 1):
                part.fail(text, f"exit code {one.code} and {len(lines)} error lines", one.output)

    def _one_wins(self, part: Part, text: str, logs: Path, cases: list[Case]) -> None:
        """One of the processes succeeds. Every other process is rejected with one line."""
        ended = [self._end(case) for case in cases]
        won = [one for one in ended if one.code == 0]
        if len(won) != 1:
            part.fail(text, f"exit codes {[one.code for one in ended]}", "".join(one.output for one in ended))
        for one in ended:
            errors = [line for line in one.output.splitlines() if line.strip()]
            if one.code != 0 and (one.code != 2 or len(errors) != 1 or "Traceback" in one.output):
                part.fail(text, f"the rejected process ended with {one.code} and {len(errors)} lines", one.output)
        self._unharmed(part, text, logs, *won[:1])

    def _unharmed(self, part: Part, text: str, logs: Path, *ended: Ended) -> None:
        if any(one.code != 0 for one in ended):
            part.fail(text, "the first run was disturbed", ended[0].output)
        elif found := differences(end_state(only_run(logs)), self.expected):
            part.different(text, found)

    def _end(self, case: Case) -> Ended:
        ended = self.forks.wait(case, 200)
        assert ended is not None
        return ended

    def _living(self, logs: Path) -> Case:
        """Start a run, and return it while it trains, after its first checkpoint."""
        case = self.forks.start([TRAIN, *RUN, f"paths.logs={logs}"])
        deadline = time.monotonic() + 60
        while not list(logs.glob("runs/*/*/checkpoints/last.ckpt")):
            if time.monotonic() > deadline:
                raise TimeoutError("the run wrote no checkpoint")
            time.sleep(0.01)
        return case

    def _stopped(self, logs: Path) -> None:
        """Create a run that was killed before its end."""
        case = self._living(logs)
        self.forks.wait(case, 0)
