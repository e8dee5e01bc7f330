"""The best configuration of a sweep. Trials that differ only in their seed or fold are one configuration."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from leyden.sweep.plan import REPLICATES, Plan

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Configuration:
    """A configuration and its runs.

    Args:
        overrides: its overrides, without seed and fold.
        trials: its complete trials.
    """

    overrides: tuple[str, ...]
    trials: "tuple[FrozenTrial, ...]"

    @cached_property
    def runs(self) -> list[list[float]]:
        """The objectives of each run."""
        return [run for trial in self.trials for run in trial.user_attrs["runs"]]

    @cached_property
    def means(self) -> list[float]:
        """The mean of each objective over the runs."""
        return [statistics.fmean(values) for values in zip(*self.runs, strict=True)]

    @cached_property
    def deviations(self) -> list[float] | None:
        """The standard deviation of each objective over the runs; None if there is one run only."""
        if len(self.runs) < 2:
            return None
        return [statistics.stdev(values) for values in zip(*self.runs, strict=True)]

    @cached_property
    def val_loss(self) -> float | None:
        """The mean validation loss; None if not every trial has one."""
        losses = [trial.user_attrs["val_loss"] for trial in self.trials if "val_loss" in trial.user_attrs]
        return statistics.fmean(losses) if len(losses) == len(self.trials) else None


def best_configurations(trials: "Sequence[FrozenTrial]", plan: Plan) -> list[Configuration]:
    """Return the best configuration; with several objectives, all configurations that no other one dominates.

    If some runs of a configuration failed, it is not compared with complete ones. Equal means are ordered by the
    validation loss, if all of them have one, and then by the number of the trial.
    """
    found = configurations(trials)
    most = max((len(one.runs) for one in found), default=0)
    complete = [one for one in found if len(one.runs) == most]
    signs = [-1 if mode == "max" else 1 for mode in plan.objectives.values()]

    def costs(one: Configuration) -> list[float]:
        return [sign * mean for sign, mean in zip(signs, one.means, strict=True)]

    if len(signs) > 1:
        return [one for one in complete if not any(dominates(costs(other), costs(one)) for other in complete)]
    best = min((costs(one) for one in complete), default=None)
    tied = [one for one in complete if costs(one) == best]
    losses = [one.val_loss for one in tied]
    known = [loss for loss in losses if loss is not None]
    return [tied[losses.index(min(known)) if known and len(known) == len(tied) else 0]] if tied else []


def configurations(trials: "Sequence[FrozenTrial]") -> list[Configuration]:
    """Return the configurations of the complete trials, in the order of their first trial."""
    groups: dict[tuple[str, ...], list[FrozenTrial]] = {}
    for trial in trials:
        if trial.state.name == "COMPLETE" and "same_as" not in trial.user_attrs:
            overrides = trial.user_attrs["overrides"]
            kept = [text for text in overrides if text.partition("=")[0].lstrip("+") not in REPLICATES]
            groups.setdefault(tuple(kept), []).append(trial)
    return [Configuration(overrides, tuple(group)) for overrides, group in groups.items()]


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether `one` is at most `other` in every objective, and smaller in at least one."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and list(one) != list(other)
