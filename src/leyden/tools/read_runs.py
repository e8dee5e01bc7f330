"""Read finished runs for a comparison. The folders may come from somebody else, and may be damaged."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from leyden.errors import UserError
from leyden.records.run_folder import read_config

REPLICATES = ("seed", "data.seed", "data.fold")  # runs of one configuration may differ in these keys
NEEDED = ("seed", "name", "data._target_", "model._target_")
MAX_REPORT_BYTES = 16 << 20


@dataclass
class Run:
    """A finished run: its folder, its report, and its config as dotted key → value."""

    folder: Path
    report: dict[str, Any]
    config: dict[str, str]

    @property
    def replicate(self) -> tuple[str, ...]:
        """Its seed and fold."""
        return tuple(self.config.get(key, "") for key in REPLICATES)

    def metric(self, name: str) -> float | None:
        """Return the value of a metric, or None if the run does not have it or it is not finite."""
        metrics = self.report["metrics"]
        return float(metrics[name]) if name in metrics and math.isfinite(metrics[name]) else None


def find_runs(folders: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Return the finished runs in and below `folders`, and one line for each run that is left out."""
    paths = sorted({path.resolve() for folder in folders for path in folder.glob("**/report.json")})
    runs, left_out = [], []
    for path in paths:
        try:
            run = read_run(path.parent)
        except UserError as error:
            left_out.append(printable(f"{error}; this run is left out"))
            continue
        if run.report["state"] == "finished":
            runs.append(run)
        else:
            left_out.append(printable(f"{path.parent}: is {run.report['state']}; this run is left out"))
    return runs, left_out


def read_run(folder: Path) -> Run:
    """Read a run folder, which may come from somebody else.

    Raises:
        UserError: its report or its config is damaged.
    """
    try:
        config = dict(flat(OmegaConf.to_container(read_config(folder), resolve=False)))
        if missing := [key for key in NEEDED if key not in config]:
            raise ValueError(f"config.yaml has no {missing[0]}")
        size = (folder / "report.json").stat().st_size
        if size > MAX_REPORT_BYTES:
            raise ValueError(f"report.json has {size:,} bytes")
        return Run(folder, check_report(json.loads((folder / "report.json").read_text(encoding="utf-8"))), config)
    except UserError:
        raise
    except (OSError, ValueError, RecursionError, AssertionError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(
            f"{folder}: report.json or config.yaml is damaged ({' '.join(str(error).split())[:200]})"
        ) from error


def check_report(report: Any) -> dict[str, Any]:
    """Return the parts of a report that are compared.

    Raises:
        ValueError: one of them is missing or has the wrong type.
    """
    number = (int, float)
    wanted: dict[str, dict[str, Any]] = {
        "": {
            "state": str,
            "name": str,
            "metrics": dict,
            "objective": dict,
            "seconds": dict,
            "epochs": int,
            "parameters": int,
        },
        "objective": {"metric": str, "mode": str},
        "seconds": {"training": number},
    }
    for section, keys in wanted.items():
        values = report[section] if section else report
        for key, kind in keys.items():
            if not isinstance(values, dict) or key not in values or not isinstance(values[key], kind):
                raise ValueError(f"{f'{section}.{key}'.strip('.')} is missing or has the wrong type in report.json")
    if not all(isinstance(value, number) for value in report["metrics"].values()):
        raise ValueError("a metric in report.json is not a number")
    metrics = {printable(name): value for name, value in report["metrics"].items()}
    objective = {"metric": printable(report["objective"]["metric"]), "mode": report["objective"]["mode"]}
    return {**{key: report[key] for key in wanted[""]}, "metrics": metrics, "objective": objective}


def flat(node: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Yield (dotted key, value as text), without control characters."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield printable(f"{prefix}{key}"), printable(str(value))


def printable(text: str) -> str:
    """Return `text` with a ``?`` for each control character: a terminal would obey it."""
    return "".join(character if character.isprintable() else "?" for character in text)
