"""The sections of the page of a sweep."""

import math
import statistics
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from leyden.tools.page.charts import Line, line_chart, scatter
from leyden.tools.page.elements import Child, Html, clean, commands, definitions, el, join, number, section, table
from leyden.tools.page.files import get, read_curves
from leyden.tools.page.parallel import Trial, bars, parallel_coordinates
from leyden.tools.page.sweep_trials import REPLICATES, SweepTrials, TrialRow, read_trials

SWEEP_FILES = ("sweep.json", "identity.json", "trials.csv")
MAX_EFFECTS = 12  # charts
MAX_BEST = 10  # configurations
CURVES = 5  # learning curves of the best trials


def sweep_page(folder: Path) -> tuple[str, list[Html]]:
    """Return the title and the sections of the page of a sweep.

    Raises:
        UserError: a file in it is damaged.
    """
    sweep = read_trials(folder)
    name = folder.resolve().name
    sections = [
        overview(name, sweep),
        best_section(sweep),
        trials_section(sweep),
        coordinates_section(sweep),
        importance_section(sweep),
        effects_section(sweep),
        curves_section(folder, sweep),
        settings_section(sweep),
    ]
    return f"{clean(name)} · sweep", [one for one in sections if one]


def overview(name: str, sweep: SweepTrials) -> Html:
    """Return the heading with the state, and the most important numbers."""
    state = "finished" if sweep.complete else "unfinished"
    head = el("header", el("p", "Leyden sweep report", class_="kicker"),
              el("h1", name, " ", el("span", state, class_="badge", data_state=state)))  # fmt: skip
    counts = Counter(row.state for row in sweep.rows)
    wanted = get(sweep.summary, "n_trials", kind=int)
    entries: list[tuple[str, Child]] = [("trials", f"{len(sweep.rows):,}" + (f" of {wanted:,}" if wanted else ""))]
    entries += [(state, count) for state, count in counts.items()]
    for objective, mode in sweep.objectives.items():
        if done := sweep.done(objective):
            best = (max if mode == "max" else min)(row.values[objective] for row in done)
            entries.append((f"best {objective}", number(best)))
    spent = sum(row.seconds or 0.0 for row in sweep.rows)
    entries.append(("seconds of all trials", f"{spent:,.0f}") if spent else ("", None))
    cards = [el("div", el("dt", key), el("dd", value), class_="card") for key, value in entries if value is not None]
    note = None if sweep.complete else el("p", "Not all trials have ended. The command of the sweep resumes it.")
    return el("div", head, note, el("dl", *cards, class_="cards"), class_="overview")


def best_section(sweep: SweepTrials) -> Html:
    """Return the best configuration, or those that no other one beats in every objective, with their commands."""
    listed = [one for one in get(sweep.summary, "best", kind=list) or [] if isinstance(one, dict)][:MAX_BEST]
    blocks: list[Child] = []
    for best in listed:
        values, std = get(best, "values", kind=dict) or {}, get(best, "std", kind=dict) or {}
        results = ", ".join(
            f"{name} {shown(value)}" + (f" ± {shown(std[name])}" if name in std else "")
            for name, value in values.items()
        )
        runs, numbers = get(best, "runs", kind=int), get(best, "trials", kind=list) or []
        overrides = " ".join(map(str, get(best, "overrides", kind=list) or [])) or "the default values"
        trials = ", ".join(map(str, numbers[:50]))
        heading = f"Trial{'s' if len(numbers) > 1 else ''} {trials}: {results}" + (f" (n = {runs})" if runs else "")
        lines = [str(line) for line in get(best, "commands", kind=list) or []]
        blocks += [el("h3", heading), el("p", el("code", overrides))]
        blocks += [el("p", "Repeat with:"), commands(lines[:50])] if lines else []
    if len(listed) > 1:
        blocks.insert(0, el("p", "No other trial is better than one of these in every objective (Pareto front)."))
    return section("Best", *blocks, id_="best")


def shown(value: Any) -> str:
    """Return a number of a summary as text."""
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def trials_section(sweep: SweepTrials) -> Html:
    """Return the table of all trials."""
    objectives, parameters = list(sweep.objectives), sweep.parameters
    failed = any(row.reason for row in sweep.rows)
    header = ["trial", "state", *objectives, *parameters, "seconds", *(["reason"] if failed else [])]
    rows = [
        [
            row.number,
            row.state,
            *(row.values.get(name) for name in objectives),
            *(row.parameters.get(name) for name in parameters),
            None if row.seconds is None else round(row.seconds),
            *([row.reason] if failed else []),
        ]
        for row in sweep.rows
    ]
    caption = "All trials"
    return section("Trials", table(caption, header, rows, sortable=True) if rows else None, id_="trials")


def varied(sweep: SweepTrials, rows: list[TrialRow]) -> list[str]:
    """Return the parameters that have several values in `rows`, without seeds and folds."""
    names = [name for name in sweep.parameters if name.partition(" ")[0].lstrip("+") not in REPLICATES]
    return [name for name in names if len({row.parameters.get(name) for row in rows}) > 1]


def coordinates_section(sweep: SweepTrials) -> Html:
    """Return the parallel coordinates for the first objective, and the trials in the plane of two objectives."""
    if not sweep.objectives:
        return Html("")
    objective, mode = next(iter(sweep.objectives.items()))
    rows = sweep.done(objective)
    names = varied(sweep, rows)
    if len(rows) < 2 or not names:
        return Html("")
    trials = [Trial(row.parameters, row.values[objective]) for row in rows]
    better = "larger" if mode == "max" else "smaller"
    note = (
        f"Each line is a trial. A stronger blue means a better {objective} ({better} is better). The best trial is red."
    )
    plots = [parallel_coordinates(f"{len(trials)} complete trials", trials, names, objective, mode)]
    for other in list(sweep.objectives)[1:]:
        points = [(row.values[other], row.values[objective]) for row in rows if other in row.values]
        if points:
            plots.append(scatter(f"{objective} against {other}", other, objective, points))
    return section("Parallel coordinates", el("p", note), el("div", *plots, class_="wide"), id_="coordinates")


def importance_section(sweep: SweepTrials) -> Html:
    """Return how much each parameter matters."""
    found = get(sweep.summary, "importances", kind=dict) or {}
    values = {name: float(value) for name, value in found.items() if isinstance(value, int | float)}
    values = {name: value for name, value in values.items() if math.isfinite(value)}
    if not values:
        return Html("")
    grid = get(sweep.summary, "sampler") == "brute_force"
    caption = (
        "Fraction of the objective's variance that the parameter explains alone (its main effect)."
        if grid
        else "Importance of each parameter (PED-ANOVA), normalised to a sum of 1."
    )
    return section("Importance", bars(caption, values), id_="importance")


def effects_section(sweep: SweepTrials) -> Html:
    """Return the objective against each parameter, and the mean for each value of a parameter with few values."""
    if not sweep.objectives:
        return Html("")
    objective = next(iter(sweep.objectives))
    rows = sweep.done(objective)
    charts = []
    for name in varied(sweep, rows)[:MAX_EFFECTS] if len(rows) > 1 else []:
        points = [(row.parameters[name], row.values[objective]) for row in rows if name in row.parameters]
        groups: dict[float | str, list[float]] = defaultdict(list)
        for value, result in points:
            groups[value].append(result)
        means: list[list[Child]] = [
            [
                shown(value),
                len(results),
                statistics.fmean(results),
                deviation(results),
            ]
            for value, results in sorted(groups.items(), key=lambda item: -statistics.fmean(item[1]))
        ]
        few = len(groups) <= 12 and len(groups) < len(points)
        header = [name, "trials", f"mean {objective}", "std"]
        below = table(f"{objective} for each value of {name}", header, means) if few else None
        charts.append(el("div", scatter(f"{objective} against {name}", name, objective, points), below, class_="chart"))
    grid = el("div", *charts, class_="charts") if charts else None
    return section("Effect of each parameter", grid, id_="effects")


def deviation(values: list[float]) -> float | None:
    """Return the standard deviation of several values; None for a single one."""
    return statistics.stdev(values) if len(values) > 1 else None


def curves_section(folder: Path, sweep: SweepTrials) -> Html:
    """Return the learning curves of the best trials."""
    if not sweep.objectives:
        return Html("")
    objective, mode = next(iter(sweep.objectives.items()))
    best = sorted(sweep.done(objective), key=lambda row: row.values[objective], reverse=mode == "max")[:CURVES]
    lines = []
    for rank, row in enumerate(best):
        path = folder / str(row.number)
        if path.is_symlink() or not path.is_dir():
            continue
        curve = read_curves(path).get(objective)
        if curve and curve.points:
            points = [(float(epoch), value) for epoch, _, value in curve.all()]
            lines.append(Line(f"trial {row.number}", points, f"curve-{rank}"))
    if not lines:
        return Html("")
    chart = line_chart(f"{objective} of the best {len(lines)} trials", lines, "epoch")
    return section("Learning curves of the best trials", el("div", chart, class_="charts"), id_="curves")


def settings_section(sweep: SweepTrials) -> Html:
    """Return how the sweep was made."""
    names = ("sampler", "pruner", "seeds")
    pairs: list[tuple[str, Child]] = [(name, str(sweep.summary[name])) for name in names if name in sweep.summary]
    pairs += [("objective", join([f"{name} ({mode})"])) for name, mode in sweep.objectives.items()]
    base = " ".join(str(one) for one in get(sweep.summary, "base", kind=list) or [])
    listed = [el("h3", "Overrides of all trials"), commands([base])] if base else []
    return section("Settings", definitions(pairs), *listed, id_="settings")
