"""Read report.json and origin.json of a run folder. Imports no torch: a sweep reads reports without training."""

import json
from pathlib import Path
from typing import Any

from leyden.errors import UserError
from leyden.records.run_folder import one_line


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a run folder.

    Raises:
        UserError: the file does not exist or is damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: does not exist") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read, it is damaged ({one_line(error)})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: is damaged (it does not hold an object)")
    return values


def read_origin(folder: Path) -> dict[str, Any]:
    """Return origin.json of a run folder. Raises UserError if it is missing or damaged."""
    origin = read_json(folder / "origin.json")
    missing = [name for name in ("command", "versions", "git") if name not in origin]
    if missing:
        raise UserError(f"{folder / 'origin.json'}: is damaged (it has no {missing[0]})")
    return origin


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return report.json of a run folder, None if there is none yet. Raises UserError if it is damaged."""
    path = folder / "report.json"
    if not path.exists() and not path.is_symlink():
        return None
    report = read_json(path)
    for name, kind in (("objective", dict), ("metrics", dict)):
        if not isinstance(report.get(name), kind):
            raise UserError(f"{path}: is damaged (it has no {name})")
    best = report["objective"].get("best")
    if not isinstance(best, int | float) or not isinstance(report["objective"].get("metric"), str):
        raise UserError(f"{path}: is damaged (its objective has no metric or no best value)")
    report.setdefault("state", "finished")  # reports of the first versions have no state
    return report
