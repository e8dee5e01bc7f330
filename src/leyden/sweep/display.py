"""What a sweep shows while it runs: a table in a terminal, otherwise one line per trial."""

import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from leyden.sweep.plan import Plan
from leyden.sweep.ranking import Configuration, best_configurations
from leyden.sweep.runners import Job, read_output
from leyden.sweep.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

INTERVAL = 1.0  # seconds between two looks at the study, which may be on a server


class SweepDisplay:
    """A context in which `update` shows the progress of a sweep.

    Args:
        plan: the sweep.
        study: its trials.
    """

    def __init__(self, plan: Plan, study: Study) -> None:
        self.plan, self.study = plan, study
        self.console = Console(markup=False, highlight=False)
        self.live = Live(console=self.console, auto_refresh=False) if sys.stdout.isatty() else None
        self.updated = 0.0
        self.shown: set[int] = set()  # trials that have ended and have been shown

    def __enter__(self) -> "SweepDisplay":
        trials = self.study.trials()
        self.shown = {trial.number for trial in trials if trial.state.is_finished()}
        done = f", {len(self.shown)} of them done before" if self.shown else ""
        print(f"{self.plan.name}: {self.plan.n_trials} trials{done}; writing to {self.plan.folder}", flush=True)
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._show([])
        if self.live:
            self.live.stop()

    def update(self, jobs: Sequence[Job]) -> None:
        """Show the progress, at most once per `INTERVAL`.

        Args:
            jobs: the jobs that this worker runs.
        """
        if time.monotonic() > self.updated + INTERVAL:
            self._show(jobs)
            self.updated = time.monotonic()

    def _show(self, jobs: Sequence[Job]) -> None:
        trials = self.study.trials()
        if self.live:
            self.live.update(self._page(trials, jobs), refresh=True)
            return
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self.shown:
                self.shown.add(trial.number)
                print(f"[{len(self.shown)}/{self.plan.n_trials}] {describe(trial, self.plan)}", flush=True)

    def _page(self, trials: "Sequence[FrozenTrial]", jobs: Sequence[Job]) -> Group:
        done = sum(trial.state.is_finished() for trial in trials)
        top = Table.grid(padding=(0, 2, 0, 0))
        top.add_row(ProgressBar(self.plan.n_trials, done, width=30), self._counts(trials))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for job in jobs:
            lines = [line for line in read_output(job.folder).splitlines() if line.strip()]
            overrides = brief(job.overrides[len(self.plan.base) :])
            table.add_row(f"{job.number}", overrides, lines[-1][:100] if lines else "starting")
        best = best_configurations(trials, self.plan) if len(self.plan.objectives) == 1 else []
        return Group(top, f"best: {describe_configuration(best[0], self.plan)}" if best else "", table)

    def _counts(self, trials: "Sequence[FrozenTrial]") -> str:
        counts = Counter(trial.state.name for trial in trials)
        names = {"COMPLETE": "done", "RUNNING": "running", "PRUNED": "pruned", "FAIL": "failed"}
        shown = "  ".join(f"{counts[state]} {name}" for state, name in names.items())
        return f"{shown}  of {self.plan.n_trials}{time_left(trials, self.plan.n_trials)}"


def time_left(trials: "Sequence[FrozenTrial]", n_trials: int) -> str:
    """Return ``"  about 12 min left"``, from the mean duration of a trial and the number of trials that run now."""
    seconds = [float(trial.user_attrs["seconds"]) for trial in trials if "seconds" in trial.user_attrs]
    running = sum(trial.state.name == "RUNNING" for trial in trials)
    if not seconds or not running:
        return ""
    unfinished = n_trials - sum(trial.state.is_finished() for trial in trials)
    left = (unfinished - running / 2) * sum(seconds) / len(seconds) / running
    return f"  about {left / 60:.0f} min left" if left > 90 else f"  about {left:.0f} s left"


def describe(trial: "FrozenTrial", plan: Plan) -> str:
    """Return ``trial 3: val/acc 0.9812 in 12.3 s (optimizer.lr=0.01)``."""
    attributes = trial.user_attrs
    overrides = brief(attributes["overrides"]) if "overrides" in attributes else "not started"
    seconds = f" in {attributes['seconds']:.1f} s" if "seconds" in attributes else ""
    if trial.state.name == "COMPLETE":
        result = named_values(plan.objectives, trial.values)
        result += f", the same point as trial {attributes['same_as']}" if "same_as" in attributes else ""
    elif trial.state.name == "PRUNED":
        last = trial.last_step
        result = "pruned" + ("" if last is None else f" at {number_text(trial.intermediate_values[last])}")
    else:
        result = f"failed: {attributes['reason']}"
    return f"trial {trial.number}: {result}{seconds} ({overrides})"


def describe_configuration(configuration: Configuration, plan: Plan) -> str:
    """Return ``val/acc 0.9812 ± 0.0021 (n=3) (optimizer.lr=0.01)``, without ``±`` and n for one run."""
    values = named_values(plan.objectives, configuration.means, configuration.deviations)
    number = f" (n={len(configuration.runs)})" if len(configuration.runs) > 1 else ""
    return f"{values}{number} ({brief(configuration.overrides)})"


def named_values(names: Iterable[str], values: Sequence[float], deviations: Sequence[float] | None = None) -> str:
    """Return ``val/acc 0.9812 ± 0.0021, parameters 50,890``."""
    texts = [f"{name} {number_text(value)}" for name, value in zip(names, values, strict=True)]
    if deviations:
        texts = [f"{text} ± {number_text(deviation)}" for text, deviation in zip(texts, deviations, strict=True)]
    return ", ".join(texts)


def number_text(value: float) -> str:
    """Return ``0.9812``, but ``50,890`` for counts and ``1,234.5`` for other large numbers."""
    if value == int(value) and abs(value) >= 2:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.1f}"


def brief(overrides: Sequence[str]) -> str:
    """Return ``optimizer.lr=0.003825 model=mlp``, with numbers shortened by `short`."""
    pairs = [override.partition("=") for override in overrides]
    return " ".join(f"{key}={short(value)}" for key, _, value in pairs) or "the default"


def short(value: str) -> str:
    """Return `value` with four significant digits if it is a number with a fraction or an exponent."""
    return f"{float(value):.4g}" if re.fullmatch(r"-?\d+(\.\d+(e-?\d+)?|e-?\d+)", value) else value
