"""Read finished runs for a comparison. The folders may come from somebody else, and may be damaged."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from leyden.errors import UserError
from leyden.records.json_files import read_json
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
        value = self.report["metrics"].get(name)
        return float(value) if value is not None and math.isfinite(value) else None


def find_runs(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Return the finished runs in and below `folders`, and one line for each run that is left out.

    Raises:
        UserError: a folder does not exist.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: {'is a file, must be a folder' if folder.exists() else 'does not exist'}")
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
    config = dict(flat(OmegaConf.to_container(read_config(folder), resolve=False)))
    if missing := [key for key in NEEDED if key not in config]:
        raise UserError(f"{folder / 'config.yaml'}: is damaged (it has no {missing[0]})")
    path = folder / "report.json"
    if path.stat().st_size > MAX_REPORT_BYTES:
        raise UserError(f"{path}: is larger than 16 MB, so it is not a report of Leyden")
    return Run(folder, check_report(read_json(path), path), config)


def check_report(report: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the parts of a report that are compared.

    Raises:
        UserError: one of them is missing or has the wrong type.
    """
    if not isinstance(report.get("metrics"), dict):
        raise UserError(f"{path}: is damaged (it has no metrics)")
    number = (int, float)
    wanted: dict[str, dict[str, Any]] = {
        "": {
            "state": str,
            "name": str,
            "objective": dict,
            "seconds": dict,
            "epochs": int,
            "parameters": int,
        },
        "objective": {"metric": str, "mode": str},
        "seconds": {"training": number},
        "metrics": dict.fromkeys(report["metrics"], (*number, type(None))),  # null: it was NaN or infinite
    }
    for section, keys in wanted.items():
        values = report[section] if section else report
        for key, kind in keys.items():
            if key not in values or not isinstance(values[key], kind):
                name = f"{section}.{key}".strip(".")
                raise UserError(f"{path}: is damaged ({name} is missing or has the wrong type)")
    metrics = {printable(name): value for name, value in report["metrics"].items()}
    objective = {**report["objective"], "metric": printable(report["objective"]["metric"])}
    return {**report, "metrics": metrics, "objective": objective}


def flat(node: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Yield (dotted key, value as text), without control characters."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield printable(f"{prefix}{key}"), printable(str(value))


def printable(text: str) -> str:
    """Return `text` with a ``?`` for each control character: a terminal would execute it."""
    return "".join(character if character.isprintable() else "?" for character in text)
