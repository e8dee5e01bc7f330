"""Compare runs: one row per configuration, with the mean and the spread over its seeds or folds."""

import csv
import io
import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from leyden.config.rules import metric_mode
from leyden.errors import UserError
from leyden.tools.choices import choice_names, measured_keys
from leyden.tools.read_runs import REPLICATES, Run, printable

# Where files are and what is recorded: no part of the configuration.
NOT_CONFIGURATION = (
    "paths.", "name", "resume", "tensorboard", "logger.", "plugins", "checkpoint.",
    "data.root", "data.path", "data.cache", "data.verify", "data.download", "data.mirrors",
)  # fmt: skip
USER_FILES = ("data.path", "data.cache")  # a data set with one of these keys reads files of the user
MIN_PAIRS = 3  # a paired test over fewer seeds says nothing
NONE = "–"


def ranked(runs: Iterable[Run], metric: str, mode: str | None = None) -> list[list[Run]]:
    """Return the runs of each configuration, each seed once, the best configuration first.

    Args:
        runs: at least one.
        metric: the metric to sort by, for example ``val/acc``.
        mode: ``min`` or ``max``; None if it follows from the name of the metric.

    Raises:
        UserError: no run has the metric.
    """
    groups: dict[Any, dict[Any, Run]] = defaultdict(dict)
    for run in runs:
        groups[tuple(configuration(run).items())][run.replicate] = run
    listed = [list(group.values()) for group in groups.values()]
    require_metric(listed, metric)
    mode = mode or metric_mode(metric)
    worst = math.inf if mode == "min" else -math.inf

    def score(group: Sequence[Run]) -> float:
        average, _ = spread(group, metric)
        return (1 if mode == "min" else -1) * (worst if average is None else average)

    return sorted(listed, key=score)


def require_metric(groups: Iterable[Iterable[Run]], metric: str) -> None:
    """Raise UserError if no run has `metric`."""
    runs = [run for group in groups for run in group]
    if all(run.metric(metric) is None for run in runs):
        names = sorted({name for run in runs for name in run.report["metrics"]})
        raise UserError(f"--metrics: no run has {printable(metric)}. The runs have {', '.join(names)}")


def default_metrics(runs: Sequence[Run]) -> list[str]:
    """Return the objective of the first run, and the same metric on the test split if a run has it."""
    objective = runs[0].report["objective"]["metric"]
    on_test = objective.replace("val/", "test/")
    return [objective, *([on_test] if any(run.metric(on_test) is not None for run in runs) else [])]


def configuration(run: Run) -> dict[str, str]:
    """Return what the run trained: the config without seed, fold, locations and measured values.

    A choice such as ``model=gru`` replaces the name of its class. For files of the user, the fingerprint of
    the data is included: the same config may have been used with other files.
    """
    names = choice_names(run.config)
    ignored = {*REPLICATES, *measured_keys(run.config), *(f"{group}._target_" for group in names)}
    kept = {k: v for k, v in run.config.items() if k not in ignored and not k.startswith(NOT_CONFIGURATION)}
    if any(value(run.config, key) not in (NONE, "None") for key in USER_FILES):
        kept["data.fingerprint"] = printable(str(run.report.get("fingerprint", "")))[:8]
    return {**names, **kept}


def differing(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Return the keys in which configurations differ, without the keys that follow from a choice.

    If a cnn is compared with an mlp, ``model`` differs; ``model.channels`` only follows from it.
    """
    configs = [configuration(group[0]) for group in groups]
    keys = [key for key in dict.fromkeys(k for c in configs for k in c) if len({value(c, key) for c in configs}) > 1]

    def follows(key: str) -> bool:
        choice = key.partition(".")[0]
        if key == choice or choice not in keys:
            return False
        pairs = {(value(config, choice), value(config, key)) for config in configs}
        return len(pairs) == len({value(config, choice) for config in configs})

    return [key for key in keys if not follows(key)]


def value(config: dict[str, str], key: str) -> str:
    """Return the value of `key`, or a dash if the config does not have it."""
    return config.get(key, NONE)


def table(groups: Sequence[Sequence[Run]], metrics: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Return headings and one row per configuration.

    A row has the differing keys, (mean, standard deviation) of each metric, then n, parameters, epochs, seconds of
    training, and p (see `paired`).
    """
    keys = differing(groups)
    for metric in metrics:
        require_metric(groups, metric)
    rows = []
    for group in groups:
        config, reports = configuration(group[0]), [run.report for run in group]
        epochs = float(statistics.mean(report["epochs"] for report in reports))
        seconds = float(statistics.mean(report["seconds"]["training"] for report in reports))
        spreads = [spread(group, metric) for metric in metrics]
        p = paired(groups[0], group, metrics[0])
        names = [value(config, key) for key in keys]
        rows.append([*names, *spreads, len(group), reports[0]["parameters"], epochs, seconds, p])
    return [*keys, *metrics, "n", "parameters", "epochs", "seconds", "p"], rows


def paired(best: Sequence[Run], other: Sequence[Run], metric: str) -> float | None:
    """Return p of a two-sided paired t-test over the seeds that both have.

    None if they share fewer than `MIN_PAIRS` seeds, or if all differences are equal.
    """
    from scipy.stats import ttest_rel

    ours, theirs = ({run.replicate: run.metric(metric) for run in group} for group in (best, other))
    pairs = [(ours[one], theirs[one]) for one in sorted(ours.keys() & theirs.keys())]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if len(known) < MIN_PAIRS or len({a - b for a, b in known}) == 1 or best is other:
        return None
    return float(ttest_rel(*zip(*known, strict=True)).pvalue)


def spread(group: Iterable[Run], metric: str) -> tuple[float | None, float | None]:
    """Return the mean and the sample standard deviation over the runs that have `metric`; None if there are too few."""
    values = [number for run in group if (number := run.metric(metric)) is not None]
    return (
        statistics.mean(values) if values else None,
        statistics.stdev(values) if len(values) > 1 else None,
    )


def as_markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a markdown table, for example with a cell ``0.9812 ± 0.0004``."""

    def cell(name: str, content: Any) -> str:
        if isinstance(content, tuple):
            average, deviation = content
            return NONE if average is None else f"{average:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")
        if isinstance(content, int) and name == "parameters":
            return f"{content:,}"
        if isinstance(content, float):
            return f"{content:.1f}" if name in ("seconds", "epochs") else f"{content:.3f}"
        return NONE if content is None else short(str(content)).replace("|", "\\|")

    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += [f"| {' | '.join(map(cell, header, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def as_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return the table as CSV, with one column for each mean and one for each standard deviation."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [
        [name, f"{name} std"] if isinstance(content, tuple) else [name]
        for name, content in zip(header, rows[0], strict=True)
    ]
    writer.writerow([name for names in columns for name in names])
    for row in rows:
        writer.writerow([part for content in row for part in (content if isinstance(content, tuple) else (content,))])
    return text.getvalue()


def short(text: str) -> str:
    """Return `text`. A number is shortened to four significant digits, which are enough for a table."""
    return f"{float(text):.4g}" if re.fullmatch(r"-?\d+(\.\d+(e-?\d+)?|e-?\d+)", text) else text
