"""How much each parameter of a sweep matters for its objective. Seed and fold are repetitions, not parameters."""

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leyden.sweep.axes import Axis
from leyden.sweep.plan import REPLICATES, Plan

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

MIN_TRIALS = 8  # with fewer trials of a search, importances would be noise


def importances(study: "optuna.Study", trials: "Sequence[FrozenTrial]", plan: Plan) -> dict[str, float]:
    """Return the importance of each parameter from 0 to 1, the largest first.

    For a complete grid it is the fraction of the objective's variance that the parameter explains alone (its main
    effect). For a search it is Optuna's PED-ANOVA, normalised to a sum of 1.

    Args:
        study: the study of the sweep.
        trials: its trials.
        plan: the sweep.

    Returns:
        Name → importance; empty with fewer than two parameters, several objectives, too few trials or equal values.
    """
    axes = [axis for axis in plan.space.axes if axis.key.lstrip("+") not in REPLICATES]
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    values = [trial.values[0] for trial in complete]
    if len(plan.objectives) > 1 or len(axes) < 2 or len(set(values)) < 2:
        return {}
    if is_complete_grid(complete, plan):
        found = {axis.name: main_effect(axis, complete) for axis in axes}
    elif len(complete) >= MIN_TRIALS:
        import optuna

        names = [axis.name for axis in axes if any(axis.name in trial.params for trial in complete)]
        found = optuna.importance.get_param_importances(study, params=names)
    else:
        return {}
    return {name: round(value, 4) for name, value in sorted(found.items(), key=lambda item: -item[1])}


def is_complete_grid(complete: "Sequence[FrozenTrial]", plan: Plan) -> bool:
    """Return whether the trials are all combinations of all values of all axes."""
    if plan.search or any(axis.conditions for axis in plan.space.axes):
        return False
    return len(complete) == len(plan.space.points())


def main_effect(axis: Axis, trials: "Sequence[FrozenTrial]") -> float:
    """Return the variance of the means over the trials with each value of `axis`, divided by the whole variance."""
    groups: dict[object, list[float]] = {}
    for trial in trials:
        groups.setdefault(trial.params[axis.name], []).append(trial.values[0])
    means = [statistics.fmean(values) for values in groups.values()]
    return float(statistics.pvariance(means) / statistics.pvariance([trial.values[0] for trial in trials]))
