"""Read the trials of a sweep: from its summary, and from the folders of trials that the summary does not have yet."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leyden.errors import UserError
from leyden.records.run_folder import refuse_link
from leyden.tools.page.files import get, read_object, read_rows, subfolders

MAX_TRIALS = 5_000
OTHER_COLUMNS = ("trial", "state", "seconds", "reason")
REPLICATES = ("seed", "data.seed", "data.fold")  # repetitions of one configuration


@dataclass
class TrialRow:
    """A trial: its number, its state in words, its objectives and parameters, and why it failed."""

    number: int
    state: str
    values: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, float | str] = field(default_factory=dict)
    seconds: float | None = None
    reason: str = ""


@dataclass
class SweepTrials:
    """The trials of a sweep.

    Args:
        summary: sweep.json, or an empty dictionary if the sweep has not ended yet.
        objectives: objective → min or max.
        rows: the trials by number.
    """

    summary: Mapping[str, Any]
    objectives: dict[str, str]
    rows: list[TrialRow]

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters, in the order of their appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row.parameters))

    @property
    def complete(self) -> bool:
        """Whether all trials have ended."""
        ended = sum(row.state in ("done", "pruned", "failed") for row in self.rows)
        wanted = get(self.summary, "n_trials", kind=int)
        return wanted is not None and ended >= wanted and ended == len(self.rows)

    def done(self, name: str) -> list[TrialRow]:
        """Return the trials that have a value of the objective `name` and were not stopped."""
        return [row for row in self.rows if row.state == "done" and name in row.values]


def read_trials(folder: Path) -> SweepTrials:
    """Read the trials of a sweep. Raises UserError if a file is damaged."""
    refuse_link(folder)
    summary = read_object(folder / "sweep.json") or {}
    modes = get(summary, "objectives", kind=dict) or {}
    objectives = {str(name): str(mode) for name, mode in modes.items()}
    rows = {row.number: row for row in csv_trials(folder / "trials.csv", objectives)}
    folders = [path for path in subfolders(folder) if path.name.isdecimal() and len(path.name) < 8][:MAX_TRIALS]
    known = set(rows)
    found, metrics = folder_trials([path for path in folders if int(path.name) not in known], objectives)
    objectives = objectives or metrics
    rows |= {row.number: row for row in found}
    return SweepTrials(summary, objectives, [rows[number] for number in sorted(rows)][:MAX_TRIALS])


def csv_trials(path: Path, objectives: Mapping[str, str]) -> list[TrialRow]:
    """Return the trials in trials.csv. Raises UserError if it is damaged."""
    rows = []
    for row in read_rows(path):
        try:
            number = int(row["trial"])
            trial = TrialRow(number, row["state"], reason=row.get("reason") or "")
        except (KeyError, ValueError):
            raise UserError(f"{path}: is damaged (it has no columns trial and state)") from None
        for name, text in row.items():
            value = parsed(text)
            if name in objectives and not isinstance(value, str):
                trial.values[name] = value
            elif name not in (*OTHER_COLUMNS, *objectives) and text:
                trial.parameters[name] = value
        seconds = parsed(row.get("seconds") or "")
        trial.seconds = None if isinstance(seconds, str) else seconds
        rows.append(trial)
        if len(rows) >= MAX_TRIALS:
            break
    return rows


def parsed(text: str) -> float | str:
    """Return a finite number, a whole one as an int, and any other text as it is."""
    try:
        value = int(text) if text.isdecimal() and len(text) < 16 else float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) and "_" not in text else text


def folder_trials(folders: Iterable[Path], objectives: Mapping[str, str]) -> tuple[list[TrialRow], dict[str, str]]:
    """Return the trials in `folders`, and the objectives that their reports name."""
    found, modes, overrides = [], {}, []
    for folder in folders:
        runs = [folder] if (folder / "trial.json").exists() else subfolders(folder)
        identities = [read_object(run / "trial.json") for run in runs]
        if not any(identities):
            continue
        reports = [read_object(run / "report.json") for run in runs]
        states = [get(report, "state") or "not finished" for report in reports]
        state = next((one for one in states if one != "finished"), "done")
        trial = TrialRow(int(folder.name), state)
        for name, mode in objectives.items() or own_objective(reports).items():
            modes[name] = mode
            values = [value_of(report, name) for report in reports if report]
            if values and None not in values:
                trial.values[name] = sum(value for value in values if value is not None) / len(values)
        found.append(trial)
        listed = get(identities[0], "overrides", kind=list) or []
        overrides.append([str(one) for one in listed if len(runs) == 1 or not str(one).startswith("seed=")])
    common = set.intersection(*map(set, overrides)) if len(overrides) > 1 else set()
    for trial, own in zip(found, overrides, strict=True):
        pairs = (one.partition("=") for one in own if one not in common)
        trial.parameters = {key.lstrip("+"): parsed(text) for key, _, text in pairs}
    return found, modes


def own_objective(reports: Iterable[dict[str, Any] | None]) -> dict[str, str]:
    """Return the objective that a report names, with its mode."""
    for report in reports:
        metric, mode = get(report, "objective", "metric"), get(report, "objective", "mode")
        if metric and mode in ("min", "max"):
            return {metric: mode}
    return {}


def value_of(report: Mapping[str, Any], name: str) -> float | None:
    """Return a metric of a report, the best value of its objective, or another number of it; None if it has none."""
    if get(report, "objective", "metric") == name:
        value = get(report, "objective", "best", kind=(int, float))
    elif name in (get(report, "metrics", kind=dict) or {}):
        value = get(report, "metrics", name, kind=(int, float))
    else:
        value = get(report, *name.split("."), kind=(int, float))
    return float(value) if value is not None and math.isfinite(value) else None
