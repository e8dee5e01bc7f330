"""Compare runs: one row per configuration, with the mean and the spread over its seeds or folds."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from leyden.config.rules import metric_mode
from leyden.config.suggest import nearest
from leyden.errors import UserError
from leyden.tools.choices import choice_names
from leyden.tools.configurations import configuration, differing, setting, value
from leyden.tools.read_runs import REPLICATES, Run, printable

MIN_PAIRS = 3  # a paired test over fewer seeds says nothing


def ranked(runs: Iterable[Run], metric: str, mode: str | None = None, by: Sequence[str] = ()) -> list[list[Run]]:
    """Return the runs of each group, without repetitions, the best group first.

    Args:
        runs: at least one.
        metric: the metric to sort by, for example ``val/acc``.
        mode: ``min`` or ``max``; None if it follows from the name of the metric.
        by: the runs of a group have the same values of these keys; if there are none, the same configuration.

    Raises:
        UserError: the runs have different tasks, or no run has the metric, or one of the keys.
    """
    groups: dict[Any, dict[Any, Run]] = defaultdict(dict)
    listed_runs = list(runs)
    require_one_task(listed_runs)
    require_keys(listed_runs, by)
    for run in listed_runs:
        own = configuration(run)
        key = tuple(setting(run, own, name) for name in by) if by else tuple(own.items())
        groups[key][(tuple(own.items()), run.replicate)] = run
    listed = [list(group.values()) for group in groups.values()]
    require_metric(listed, metric)
    mode = mode or metric_mode(metric)
    worst = math.inf if mode == "min" else -math.inf

    def score(group: Sequence[Run]) -> float:
        average, _ = spread(group, metric)
        return (1 if mode == "min" else -1) * (worst if average is None else average)

    return sorted(listed, key=score)


def require_one_task(runs: Sequence[Run]) -> None:
    """Raise UserError if the runs have different tasks: a metric such as ``val/loss`` then has different meanings."""
    tasks = [value(choice_names(run.config), "task") for run in runs]
    for run, task in zip(runs, tasks, strict=True):
        if task != tasks[0]:
            raise UserError(
                f"{run.folder}: has task={task}, but {runs[0].folder} has task={tasks[0]}. Only runs of one task can "
                "be compared"
            )


def require_metric(groups: Iterable[Iterable[Run]], metric: str) -> None:
    """Raise UserError if no run has `metric`."""
    runs = [run for group in groups for run in group]
    if all(run.metric(metric) is None for run in runs):
        names = sorted({name for run in runs for name in run.report["metrics"]})
        raise UserError(f"--metrics: no run has {printable(metric)}. The runs have {', '.join(names)}")


def require_keys(runs: Sequence[Run], keys: Iterable[str]) -> None:
    """Raise UserError if no run has one of the `keys`."""
    known = {key for run in runs for key in (*run.config, *configuration(run))}
    for key in keys:
        if key not in known:
            raise UserError(f"--by: no run has {printable(key)}{nearest(key, sorted(known))}")


def default_metrics(runs: Sequence[Run]) -> list[str]:
    """Return the objective of the first run, and the same metric on the test split if a run has it."""
    objective = runs[0].report["objective"]["metric"]
    on_test = objective.replace("val/", "test/")
    return [objective, *([on_test] if any(run.metric(on_test) is not None for run in runs) else [])]


def table(
    groups: Sequence[Sequence[Run]], metrics: Sequence[str], by: Sequence[str] = ()
) -> tuple[list[str], list[list[Any]]]:
    """Return headings and one row per group.

    A row has the keys `by` or, if there are none, the differing keys; (mean, standard deviation) of each metric; then
    n, the means of parameters, epochs and seconds of training, and p (see `paired`).
    """
    keys = by or differing(groups)
    for metric in metrics:
        require_metric(groups, metric)
    rows = []
    for group in groups:
        own = configuration(group[0])
        names = [setting(group[0], own, key) for key in keys]
        spreads = [spread(group, metric) for metric in metrics]
        reports = [run.report for run in group]
        parameters = round(statistics.mean(report["parameters"] for report in reports))
        epochs = float(statistics.mean(report["epochs"] for report in reports))
        seconds = float(statistics.mean(report["seconds"]["training"] for report in reports))
        rows.append([*names, *spreads, len(group), parameters, epochs, seconds, paired(groups, group, metrics[0], by)])
    return [*keys, *metrics, "n", "parameters", "epochs", "seconds", "p"], rows


def pairs(
    groups: Sequence[Sequence[Run]], other: Sequence[Run], metric: str, by: Sequence[str] = ()
) -> list[tuple[float, float]]:
    """Return (value of the best group, value of `other`) for each seed, fold and remaining setting that both have.

    Args:
        groups: all groups, the best first.
        other: one of them.
        metric: the metric that is compared.
        by: the keys by which the runs were grouped; all other differing keys must be equal in a pair.
    """
    single = [[run] for group in groups for run in group]
    rest = [key for key in (differing(single) if by else []) if key not in by]

    def values(group: Sequence[Run]) -> dict[Any, float | None]:
        found = {}
        for run in group:
            own = configuration(run)
            replicate = (name for key, name in zip(REPLICATES, run.replicate, strict=True) if key not in by)
            found[tuple(value(own, key) for key in rest), tuple(replicate)] = run.metric(metric)
        return found

    ours, theirs = values(groups[0]), values(other)
    shared = [(ours[key], theirs[key]) for key in sorted(ours.keys() & theirs.keys())]
    return [(a, b) for a, b in shared if a is not None and b is not None]


def paired(groups: Sequence[Sequence[Run]], other: Sequence[Run], metric: str, by: Sequence[str] = ()) -> float | None:
    """Return p of a two-sided paired t-test of `other` and the best group, see `pairs`.

    None if there are fewer than `MIN_PAIRS` pairs, or if all differences are equal.
    """
    from scipy.stats import ttest_rel

    if other is groups[0]:
        return None
    known = pairs(groups, other, metric, by)
    if len(known) < MIN_PAIRS or len({a - b for a, b in known}) == 1:
        return None
    return float(ttest_rel(*zip(*known, strict=True)).pvalue)


def note(groups: Sequence[Sequence[Run]], metric: str, by: Sequence[str] = ()) -> str:
    """Return why some rows have no p, in one line; empty if every row but the first has enough pairs for the test."""
    few = sum(len(pairs(groups, group, metric, by)) < MIN_PAIRS for group in groups[1:])
    if not few:
        return ""
    return (
        f"note: {few} of {len(groups)} rows share fewer than {MIN_PAIRS} seeds or folds with the best row. That is too "
        "few for a test: their difference from it may be chance"
    )


def spread(group: Iterable[Run], metric: str) -> tuple[float | None, float | None]:
    """Return the mean and the sample standard deviation over the runs that have `metric`; None if there are too few."""
    values = [number for run in group if (number := run.metric(metric)) is not None]
    return (
        statistics.mean(values) if values else None,
        statistics.stdev(values) if len(values) > 1 else None,
    )
