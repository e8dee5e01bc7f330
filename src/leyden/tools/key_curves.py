"""Plot a metric against a key, for example the accuracy against the number of labels: one line per configuration."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from leyden.errors import UserError
from leyden.tools.compare import ranked, spread
from leyden.tools.comparison_table import short
from leyden.tools.configurations import configuration, differing, setting
from leyden.tools.curves import MAX_CURVES
from leyden.tools.read_runs import Run, printable

LOGARITHMIC = 20  # ratio of the largest value to the smallest, from which on the axis is logarithmic

Line = list[tuple[float, float, float]]


def plot_against(runs: Sequence[Run], metric: str, key: str, path: Path, by: Sequence[str] = ()) -> None:
    """Write a PNG: the mean over the seeds at each value of `key`, with error bars of one standard deviation.

    Args:
        runs: at least one.
        metric: name of a metric of the reports, for example ``test/acc``.
        key: a key whose values are numbers.
        path: the file to write.
        by: the keys that distinguish the lines; by default those that differ.

    Raises:
        UserError: no run has the metric or the key, a value is no number, or `path` cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    found = lines(runs, metric, key, by)
    figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    for name, line in list(found.items())[:MAX_CURVES]:
        places, means, errors = zip(*line, strict=True)
        axes.errorbar(places, means, errors, marker="o", linewidth=1.8, capsize=3, label=name)
    every = [place for line in found.values() for place, _, _ in line]
    if min(every) > 0 and max(every) >= LOGARITHMIC * min(every):
        axes.set_xscale("log")
    axes.set(xlabel=key, ylabel=metric)
    axes.set_title(f"{metric}: mean ± standard deviation over seeds", loc="left", fontsize="medium")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"--out: cannot write {path} ({error})") from error
    finally:
        plt.close(figure)


def lines(runs: Sequence[Run], metric: str, key: str, by: Sequence[str] = ()) -> dict[str, Line]:
    """Return label → (value of `key`, mean, standard deviation) in the order of the values, the best line first."""
    others = list(by) or [name for name in differing([[run] for run in runs]) if name != key]
    found: dict[str, Line] = defaultdict(list)
    for group in ranked(runs, metric, by=[*others, key]):
        own = configuration(group[0])
        mean, deviation = spread(group, metric)
        if mean is not None:
            label = ", ".join(f"{name}={short(setting(group[0], own, name))}" for name in others)
            found[label or metric].append((number(setting(group[0], own, key), key), mean, deviation or 0.0))
    return {name: sorted(line) for name, line in found.items()}


def number(text: str, key: str) -> float:
    """Return a value of `key` as a number.

    Raises:
        UserError: it is none.
    """
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f"--x: got {key}, whose value {printable(text)} is not a number") from error
