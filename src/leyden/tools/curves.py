"""Plot a metric over the epochs, one line per configuration."""

import csv
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from leyden.errors import UserError
from leyden.tools.comparison_table import short
from leyden.tools.configurations import configuration, differing, setting
from leyden.tools.read_runs import Run, printable

MAX_CURVES = 8


def plot_curves(groups: Sequence[Sequence[Run]], metric: str, path: Path, by: Sequence[str] = ()) -> None:
    """Write a PNG: the mean over the seeds of each configuration, with a band of one standard deviation.

    Args:
        groups: the runs of each configuration, the best first; the first `MAX_CURVES` are shown.
        metric: name of the metric, for example ``val/acc``.
        path: the file to write.
        by: the keys that the legend shows; by default those that differ.

    Raises:
        UserError: a run has no such metric, or `path` cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    keys, shown = by or differing(groups), groups[:MAX_CURVES]
    figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    for index, group in enumerate(shown):
        points = curve(group, metric)
        epochs, means = [epoch for epoch, _, _ in points], [middle for _, middle, _ in points]
        (line,) = axes.plot(epochs, means, color=f"C{index}", linewidth=1.8, label=legend(group, keys))
        low, high = ([m + sign * s for _, m, s in points] for sign in (-1, 1))
        axes.fill_between(epochs, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch", ylabel=metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=1 if len(keys) > 2 else 2, frameon=False, fontsize="small")
    axes.set_title(title(groups, metric), loc="left", fontsize="medium")
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"--out: cannot write {path} ({error})") from error
    finally:
        plt.close(figure)


def title(groups: Sequence[Sequence[Run]], metric: str) -> str:
    """Return the heading of the plot."""
    shown = groups[:MAX_CURVES]
    over = ": mean ± standard deviation over seeds" if any(len(group) > 1 for group in shown) else ""
    return f"{metric}{over}" + (f" (the best {len(shown)} of {len(groups)})" if len(groups) > len(shown) else "")


def legend(group: Sequence[Run], keys: Iterable[str]) -> str:
    """Return a label such as ``model=gru, optimizer.lr=0.01 (n=3)``."""
    config = configuration(group[0])
    parts = [f"{key}={short(setting(group[0], config, key))}" for key in keys]
    return f"{', '.join(parts) or printable(group[0].report['name'])} (n={len(group)})"


def curve(group: Iterable[Run], metric: str) -> list[tuple[int, float, float]]:
    """Return (epoch from 1, mean, standard deviation) over the runs that reached the epoch.

    Raises:
        UserError: no run logged the metric, or a metrics.csv is damaged.
    """
    values = defaultdict(list)
    for run in group:
        for epoch, number in logged(run.folder / "metrics.csv", metric):
            values[epoch].append(number)
    if not values:
        raise UserError(f"--curves: no run logged {printable(metric)}")
    return [
        (epoch, statistics.mean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else 0.0)
        for epoch, numbers in sorted(values.items())
    ]


def logged(path: Path, metric: str) -> list[tuple[int, float]]:
    """Return (epoch from 1, value) of each row of a metrics.csv that has a finite value of `metric`."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get(metric)]
        points = [(int(float(row["epoch"])) + 1, float(row[metric])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
        raise UserError(f"{path}: is damaged ({printable(str(error))})") from error
    return [(epoch, number) for epoch, number in points if math.isfinite(number)]
