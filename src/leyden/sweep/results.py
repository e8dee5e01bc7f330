"""What a run folder says about a job that has ended."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def read_report(folder: Path) -> dict[str, Any] | None:
    """report.json of a run, None while there is none."""
    path = folder / "report.json"
    if not path.exists():
        return None
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def objective(report: Mapping[str, Any], name: str) -> float:
    """The value of an objective: the best of the one that the run had, one of its metrics, or a number of its report.

        >>> objective({"objective": {"metric": "val/acc", "best": 0.9}, "metrics": {}}, "val/acc")
        0.9

    Raises:
        KeyError: there is none of this name, or it is not a number that is finite; says so.
    """
    if name == report["objective"]["metric"]:
        value = report["objective"]["best"]
    elif name in report["metrics"]:
        value = report["metrics"][name]
    else:
        value = report
        for part in name.split("."):
            value = value[part] if isinstance(value, Mapping) and part in value else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KeyError(f"the report has no number {name}; there are {', '.join(sorted(report['metrics']))}")
    if not math.isfinite(value):
        raise KeyError(f"{name} is {value}")
    return float(value)


def objectives(reports: Iterable[Mapping[str, Any]], names: Iterable[str]) -> list[float]:
    """The mean of each objective over the runs of a trial. Raises KeyError as `objective` does."""
    reports = list(reports)
    return [sum(objective(report, name) for report in reports) / len(reports) for name in names]
