"""A sweep's work: claim trials, run their jobs, tell the study what came out."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from leyden.errors import StoppedError, TrialsFailedError
from leyden.sweep.display import View
from leyden.sweep.job import Pruning
from leyden.sweep.plan import Plan
from leyden.sweep.results import objectives, read_report
from leyden.sweep.runners import OUTPUT, Job
from leyden.sweep.study import Claimed, Study
from leyden.sweep.summary import summarise

POLL = 0.05  # seconds between looks at the jobs
IDLE = 1.0  # and at the study, where only others' trials are left
CHECK = 5.0  # between looks whether the locks still hold


class Runner(Protocol):
    """Runs jobs somewhere."""

    def capacity(self) -> int: ...

    def running(self) -> list[Job]: ...

    def start(self, job: Job) -> None: ...

    def ended(self) -> list[tuple[Job, str | None]]: ...

    def stop(self) -> None: ...


@dataclass
class Work:
    """A trial under way: its runs, one per seed."""

    claimed: Claimed
    began: float = field(default_factory=time.time)
    run: int = 0


class Sweep:
    """One worker.

    Args:
        plan: what to do.
        runner: where the jobs run.
        environment: what a job's environment has that the command's has not, as a shell writes it.
    """

    def __init__(self, plan: Plan, runner: Runner, environment: str) -> None:
        self.plan, self.runner, self.environment = plan, runner, environment
        self.study = Study(plan)
        self.work: dict[int, Work] = {}
        self.signum = 0
        self.idle_until = self.checked = 0.0

    def run(self) -> None:
        """Work until every trial has an end, also those of other workers.

        Raises:
            StoppedError: by SIGTERM or Ctrl-C; what ran is kept.
            TrialsFailedError: at the end, if one failed.
        """
        already = self.study.finished() >= self.plan.n_trials
        with self._signals(), View(self.plan, self.study) as view:
            try:
                while not self.signum and self._step(view):
                    pass
            finally:
                self.runner.stop()
        if self.signum:
            for work in self.work.values():
                self.study.release(work.claimed)
            raise StoppedError(
                f"stopped by {signal.Signals(self.signum).name}; the same command goes on where it was",
                self.signum,
            )
        with self.study.locks.all():  # workers end at the same moment, and write the same files
            failed = summarise(self.plan, self.study.optuna, self.environment, already)
        if failed:
            raise TrialsFailedError(failed)

    def _step(self, view: View) -> bool:
        """Start what can start, look at what has ended; False when all is done."""
        self._check_locks()
        self._claim()
        ended = self.runner.ended()
        for job, reason in ended:
            self._run_ended(self.work[job.number], job, reason)
        view.update(self.runner.running())
        if ended:
            self.idle_until = 0.0
            return True
        if not self.work and self.study.finished() >= self.plan.n_trials:
            return False
        time.sleep(POLL if self.work else IDLE)
        return True

    def _claim(self) -> None:
        """Begin as many trials as there is room for; where there are no more, look again after a while."""
        while self.runner.capacity() and not self.signum and time.monotonic() > self.idle_until:
            claimed = self.study.claim()
            if claimed:
                self.work[claimed.number] = Work(claimed)
                self._next_run(self.work[claimed.number])
            else:
                self.idle_until = time.monotonic() + IDLE

    def _next_run(self, work: Work) -> None:
        """Start the trial's next run, or go past those that an earlier worker finished, or end the trial."""
        while work.run < self.plan.settings["seeds"]:
            report = read_report(self._folder(work))
            if not report:
                self.runner.start(self._job(work))
                return
            if self._ends_early(work, report):
                return
            work.run += 1
        self._complete(work)

    def _run_ended(self, work: Work, job: Job, reason: str | None) -> None:
        report = read_report(job.folder)
        if reason or not report:
            self._tell(work, "fail", None, reason=reason or "it ended without a report", log=str(job.folder / OUTPUT))
            return
        self._next_run(work)

    def _ends_early(self, work: Work, report: dict[str, Any]) -> bool:
        """Whether the trial is over with this run, though there may be more seeds."""
        if report["state"] == "pruned":
            self._tell(work, "pruned", None)
            return True
        if self.plan.settings["pruner"] != "wilcoxon" or work.run + 1 == self.plan.settings["seeds"]:
            return False
        trial = work.claimed.trial
        try:
            (value,) = objectives([report], self.plan.objectives)
        except KeyError:
            return False  # told when the trial is complete
        if work.run not in self.study.reported(trial.number):
            trial.report(value, work.run)
        if trial.should_prune():
            self._tell(work, "pruned", None)
            return True
        return False

    def _complete(self, work: Work) -> None:
        reports = [read_report(folder) for folder in self._folders(work)]
        try:
            values = objectives([report for report in reports if report], self.plan.objectives)
        except KeyError as error:
            self._tell(work, "fail", None, reason=str(error.args[0]))
        else:
            self._tell(work, "complete", values)

    def _tell(self, work: Work, state: str, values: list[float] | None, **facts: Any) -> None:
        del self.work[work.claimed.number]
        self.study.tell(work.claimed, state, values, {**facts, "seconds": time.time() - work.began})

    def _folders(self, work: Work) -> list[Path]:
        """The run folders of a trial."""
        folder = self.plan.folder / str(work.claimed.number)
        seeds = self.plan.settings["seeds"]
        return [folder] if seeds == 1 else [folder / f"seed-{seed}" for seed in self._seeds()]

    def _folder(self, work: Work) -> Path:
        return self._folders(work)[work.run]

    def _seeds(self) -> range:
        first = int(self.plan.config.seed)
        return range(first, first + self.plan.settings["seeds"])

    def _job(self, work: Work) -> Job:
        seeds = self.plan.settings["seeds"]
        seed = [] if seeds == 1 else [f"seed={self._seeds()[work.run]}"]
        base = [override for override in self.plan.base if not seed or not override.startswith("seed=")]
        overrides = (*base, *work.claimed.overrides, *seed)
        return Job(work.claimed.number, overrides, self._folder(work), self._pruning(work), work.claimed.lock.file)

    def _pruning(self, work: Work) -> Pruning | None:
        """Trials are judged by their first seed: the others would be compared with themselves."""
        pruner = self.plan.settings["pruner"]
        if pruner in ("none", "wilcoxon") or work.run > 0:
            return None
        arguments, epochs = self.plan.settings["pruner_args"], int(self.plan.config.trainer.max_epochs)
        return Pruning(self.study.url, self.plan.name, work.claimed.number, pruner, arguments, epochs)

    def _check_locks(self) -> None:
        if time.monotonic() > self.checked + CHECK:
            self.study.locks.check()
            self.checked = time.monotonic()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C are noted, and heeded between two steps; a second one ends at once."""

        def note(signum: int, frame: object) -> None:
            self.signum = signum
            signal.signal(signum, signal.SIG_DFL)

        before = {signum: signal.signal(signum, note) for signum in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
