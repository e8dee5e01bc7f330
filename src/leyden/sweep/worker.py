"""The worker of a sweep: claim trials, run their jobs, store the results in the study."""

import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.errors import CompactHydraException

from leyden.config.compose import explain
from leyden.errors import StoppedError, TrialsFailedError, UserError
from leyden.records.json_files import read_report
from leyden.sweep.display import SweepDisplay
from leyden.sweep.identity import check_run_folder
from leyden.sweep.job import Pruning
from leyden.sweep.plan import Plan
from leyden.sweep.retention import remove_checkpoints
from leyden.sweep.runners import OUTPUT, Failure, Job, Runner
from leyden.sweep.study import MAX_STARTS, ClaimedTrial, Study
from leyden.sweep.summary import objectives, summarise
from leyden.training.signals import handling

# Intervals in seconds:
POLL = 0.05  # between two looks at the jobs
IDLE = 1.0  # between two looks at the study, if only other workers' trials are left
CHECK = 5.0  # between two checks of the locks


class TrialFailedError(RuntimeError):
    """A trial has no result."""


@dataclass
class RunningTrial:
    """A trial that this worker runs. It has one run per seed, one after the other.

    Args:
        claimed: the trial.
        began: time of its start, in seconds.
        run: index of the current run.
    """

    claimed: ClaimedTrial
    began: float = field(default_factory=time.time)
    run: int = 0


class Sweep:
    """One worker of a sweep.

    Args:
        plan: the sweep.
        runner: runs the jobs.
        environment: prefix that gives a shell command the environment of a job.
    """

    def __init__(self, plan: Plan, runner: Runner, environment: str) -> None:
        self.plan, self.runner, self.environment = plan, runner, environment
        self.study = Study(plan)
        self.running: dict[int, RunningTrial] = {}
        self.signum = 0
        self.idle_until = self.checked = 0.0

    def run(self) -> None:
        """Work until all trials have ended, including those of other workers.

        Raises:
            StoppedError: SIGTERM, SIGHUP or Ctrl-C was received; the running trials can be resumed.
            TrialsFailedError: all trials have ended and at least one has failed.
        """
        already = self.study.finished() >= self.plan.n_trials
        with handling(self._note), SweepDisplay(self.plan, self.study) as display:
            try:
                while not self.signum and self._step(display):
                    pass
            except BaseException:  # the storage may be the cause, so the study is left as it is
                self.runner.stop()
                for trial in self.running.values():
                    trial.claimed.lock.file.close()
                raise
            self.runner.stop()
        if self.signum:
            for trial in self.running.values():
                self.study.release(trial.claimed)
            raise StoppedError(
                f"stopped by {signal.Signals(self.signum).name}; the same command resumes the sweep", self.signum
            )
        with self.study.locks.all():  # all workers end at the same time and write the same files
            remove_checkpoints(self.study.trials(), self.plan)  # sweep.keep may be new in this command
            failed = summarise(self.plan, self.study.optuna, self.environment, already)
        if failed:
            raise TrialsFailedError(failed)

    def _step(self, display: SweepDisplay) -> bool:
        """Start trials and handle the jobs that have ended. Returns False when all trials of the sweep have ended."""
        self._check_locks()
        self._claim()
        ended = self.runner.ended()
        for job, failure in ended:
            self._run_ended(self.running[job.number], job, failure)
        display.update(self.runner.running())
        if ended:
            self.idle_until = 0.0
            return True
        if not self.running and self.study.finished() >= self.plan.n_trials:
            return False
        time.sleep(POLL if self.running else IDLE)
        return True

    def _claim(self) -> None:
        """Start as many trials as the runner has capacity for. If there are none, wait before the next attempt."""
        while self.runner.capacity() and not self.signum and time.monotonic() > self.idle_until:
            claimed = self.study.claim()
            if claimed:
                self.running[claimed.number] = RunningTrial(claimed)
                self._begin(self.running[claimed.number])
            else:
                self.idle_until = time.monotonic() + IDLE

    def _begin(self, trial: RunningTrial) -> None:
        """Start the trial's first run, or take the result of an earlier trial of the same point."""
        twin = self.study.same_point(trial.claimed) if self.plan.search else None
        if twin is None:
            self._next_run(trial)
            return
        copied = {name: twin.user_attrs[name] for name in ("runs", "val_loss") if name in twin.user_attrs}
        self._end(trial, "complete", twin.values, same_as=twin.number, **copied)

    def _next_run(self, trial: RunningTrial) -> None:
        """Start the first run of the trial that has no report yet; end the trial if all runs have one."""
        try:
            reports = []
            for trial.run in range(len(self.plan.seeds)):
                report = self._report(trial)
                if not report:
                    self.runner.start(self._job(trial))
                    return
                if self._is_pruned(trial, report):
                    self._end(trial, "pruned", None)
                    return
                reports.append(report)
            self._complete(trial, reports)
        except TrialFailedError as error:
            self._end(trial, "fail", None, reason=str(error))

    def _report(self, trial: RunningTrial) -> dict[str, Any] | None:
        """Return the report of the trial's current run, None if it has none yet.

        Raises:
            TrialFailedError: the config cannot be composed, or the report is damaged.
            UserError: the folder belongs to another run.
        """
        overrides = self.plan.run_overrides(trial.claimed.overrides, trial.run)
        try:
            identity = self.plan.run_identity(overrides)
        except CompactHydraException as error:
            raise TrialFailedError(explain(error, overrides)) from error
        folder = self._folders(trial)[trial.run]
        check_run_folder(folder, identity)
        try:
            return read_report(folder)
        except UserError as error:
            raise TrialFailedError(str(error)) from error

    def _run_ended(self, trial: RunningTrial, job: Job, failure: Failure | None) -> None:
        """Continue the trial after one of its jobs has ended."""
        if not failure and not (job.folder / "report.json").exists():
            failure = Failure("it ended without a report")
        if not failure:
            self._next_run(trial)
        elif not failure.killed:
            self._end(trial, "fail", None, reason=failure.reason, log=str(job.folder / OUTPUT))
        elif not self.signum:  # with a signal, the whole sweep ends and `run` releases the trial
            if self.study.restart(trial.claimed):
                self.runner.start(job)
            else:
                reason = f"{failure.reason} {MAX_STARTS} times without a new checkpoint"
                self._end(trial, "fail", None, reason=reason, log=str(job.folder / OUTPUT))

    def _is_pruned(self, trial: RunningTrial, report: dict[str, Any]) -> bool:
        """Return whether the trial ends with its current run, although further seeds may be left."""
        if report["state"] == "pruned":
            return True
        if self.plan.settings["pruner"] != "wilcoxon" or trial.run + 1 == len(self.plan.seeds):
            return False
        optuna_trial = trial.claimed.trial
        (value,) = self._objectives([report])
        if trial.run not in self.study.reported(optuna_trial.number):
            optuna_trial.report(value, trial.run)
        return optuna_trial.should_prune()

    def _complete(self, trial: RunningTrial, reports: list[dict[str, Any]]) -> None:
        """End a trial whose runs have all ended."""
        attributes: dict[str, Any] = {"runs": [self._objectives([report]) for report in reports]}
        losses = [report["metrics"]["val/loss"] for report in reports if "val/loss" in report["metrics"]]
        if len(losses) == len(reports) and None not in losses:
            attributes["val_loss"] = sum(losses) / len(losses)
        self._end(trial, "complete", self._objectives(reports), **attributes)

    def _objectives(self, reports: list[dict[str, Any]]) -> list[float]:
        try:
            return objectives(reports, self.plan.objectives)
        except KeyError as error:
            raise TrialFailedError(error.args[0]) from error

    def _end(self, trial: RunningTrial, state: str, values: list[float] | None, **attributes: Any) -> None:
        del self.running[trial.claimed.number]
        self.study.end(trial.claimed, state, values, {**attributes, "seconds": time.time() - trial.began})

    def _folders(self, trial: RunningTrial) -> list[Path]:
        """Return the run folders of a trial, one per seed."""
        return self.plan.run_folders(trial.claimed.folder)

    def _job(self, trial: RunningTrial) -> Job:
        number, overrides = trial.claimed.number, self.plan.run_overrides(trial.claimed.overrides, trial.run)
        return Job(number, overrides, self._folders(trial)[trial.run], self._pruning(trial), trial.claimed.lock.file)

    def _pruning(self, trial: RunningTrial) -> Pruning | None:
        """Return how the run is pruned. Only the first seed is pruned: the study holds one curve per trial."""
        pruner = self.plan.settings["pruner"]
        if pruner in ("none", "wilcoxon") or trial.run > 0:
            return None
        arguments, epochs = self.plan.settings["pruner_args"], int(self.plan.config.trainer.max_epochs)
        return Pruning(self.study.url, self.study.optuna.study_name, trial.claimed.number, pruner, arguments, epochs)

    def _check_locks(self) -> None:
        if time.monotonic() > self.checked + CHECK:
            self.study.locks.check()
            self.checked = time.monotonic()

    def _note(self, signum: int, frame: object) -> None:
        """Record a signal: the loop ends after its current step. A second one ends the process."""
        self.signum = signum
        signal.signal(signum, signal.SIG_DFL)
