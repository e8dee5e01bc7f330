"""What a sweep shows while it runs: a table in a terminal, a line per trial elsewhere."""

import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from leyden.sweep.plan import Plan
from leyden.sweep.runners import Job, read_output
from leyden.sweep.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

INTERVAL = 1.0  # seconds between looks at the study, which may be a server


class View:
    """A context in which `update` shows how far the sweep is."""

    def __init__(self, plan: Plan, study: Study) -> None:
        self.plan, self.study = plan, study
        self.console = Console(markup=False, highlight=False)
        self.live = Live(console=self.console, auto_refresh=False) if sys.stdout.isatty() else None
        self.updated = 0.0
        self.told: set[int] = set()

    def __enter__(self) -> "View":
        trials = self.study.trials()
        self.told = {trial.number for trial in trials if trial.state.is_finished()}
        done = f", {len(self.told)} of them done before" if self.told else ""
        print(f"{self.plan.name}: {self.plan.n_trials} trials{done}; writing to {self.plan.folder}", flush=True)
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._show([])
        if self.live:
            self.live.stop()

    def update(self, jobs: Sequence[Job]) -> None:
        """Show it, if it was not shown just now."""
        if time.monotonic() > self.updated + INTERVAL:
            self._show(jobs)
            self.updated = time.monotonic()

    def _show(self, jobs: Sequence[Job]) -> None:
        trials = self.study.trials()
        if self.live:
            self.live.update(self._page(trials, jobs), refresh=True)
            return
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self.told:
                self.told.add(trial.number)
                done = sum(other.state.is_finished() for other in trials)
                print(f"[{done}/{self.plan.n_trials}] {describe(trial, self.plan)}", flush=True)

    def _page(self, trials: "Sequence[FrozenTrial]", jobs: Sequence[Job]) -> Group:
        done = sum(trial.state.is_finished() for trial in trials)
        top = Table.grid(padding=(0, 2, 0, 0))
        top.add_row(ProgressBar(self.plan.n_trials, done, width=30), self._counts(trials))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for job in jobs:
            said = [line for line in read_output(job.folder).splitlines() if line.strip()]
            overrides = brief(job.overrides[len(self.plan.base) :])
            table.add_row(f"{job.number}", overrides, said[-1][:100] if said else "starting")
        best = best_trial(trials, self.plan)
        return Group(top, f"best: {describe(best, self.plan)}" if best else "", table)

    def _counts(self, trials: "Sequence[FrozenTrial]") -> str:
        counts = Counter(trial.state.name for trial in trials)
        names = {"COMPLETE": "done", "RUNNING": "running", "PRUNED": "pruned", "FAIL": "failed"}
        shown = "  ".join(f"{counts[state]} {name}" for state, name in names.items())
        return f"{shown}  of {self.plan.n_trials}{time_left(trials, self.plan.n_trials)}"


def time_left(trials: "Sequence[FrozenTrial]", n_trials: int) -> str:
    """``"  about 12 min left"``, from the trials that have ended and how many run at once."""
    seconds = [float(trial.user_attrs["seconds"]) for trial in trials if "seconds" in trial.user_attrs]
    running = sum(trial.state.name == "RUNNING" for trial in trials)
    if not seconds or not running:
        return ""
    open_trials = n_trials - sum(trial.state.is_finished() for trial in trials)
    left = (open_trials - running / 2) * sum(seconds) / len(seconds) / running
    return f"  about {left / 60:.0f} min left" if left > 90 else f"  about {left:.0f} s left"


def describe(trial: "FrozenTrial", plan: Plan) -> str:
    """``trial 3: val/acc 0.9812 in 12.3 s (optimizer.lr=0.01)``"""
    attributes = trial.user_attrs
    overrides = brief(attributes["overrides"]) if "overrides" in attributes else "never begun"
    seconds = f" in {attributes['seconds']:.1f} s" if "seconds" in attributes else ""
    if trial.state.name == "COMPLETE":
        outcome = ", ".join(f"{name} {value:.4f}" for name, value in zip(plan.objectives, trial.values, strict=True))
    elif trial.state.name == "PRUNED":
        last = trial.last_step
        reached = "" if last is None else f" at {trial.intermediate_values[last]:.4f}"
        outcome = f"pruned{reached}"
    else:
        outcome = f"failed: {attributes['reason']}"
    return f"trial {trial.number}: {outcome}{seconds} ({overrides})"


def brief(overrides: Sequence[str]) -> str:
    """``optimizer.lr=0.003825 model=mlp``"""
    pairs = [override.partition("=") for override in overrides]
    return " ".join(f"{key}={short(value)}" for key, _, value in pairs) or "the default"


def short(value: str) -> str:
    """For reading, four digits of a number are enough."""
    return f"{float(value):.4g}" if re.fullmatch(r"-?\d+(\.\d+(e-?\d+)?|e-?\d+)", value) else value


def best_trial(trials: "Sequence[FrozenTrial]", plan: Plan) -> "FrozenTrial | None":
    """The best by the only objective; None if there are several, or no trial is complete."""
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not complete or len(plan.objectives) > 1:
        return None
    (mode,) = plan.objectives.values()
    choose = max if mode == "max" else min
    return choose(complete, key=lambda trial: trial.values[0])
