"""The stored figures of scripts/benchmark.py on this machine, and what has become slower since then."""

import json
import math
import platform
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from leyden.errors import UserError
from leyden.records.run_folder import write_text

FOLDER = Path(__file__).resolve().parents[1] / "logs" / "benchmarks"
TOLERANCE = 0.1  # a smaller change of a ratio is noise

# Name of a measurement → how fast Leyden is, relative to its rival; larger is better.
Ratios = Mapping[str, float]


def machine() -> str:
    """Return the name of this machine and of what decides its speed, for a file name: ``amd-epyc-2-threads``."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.exists() else None
    model = found[1] if found else platform.processor() or platform.machine()
    return re.sub(r"[^a-z0-9]+", "-", f"{model} {torch.get_num_threads()} threads".lower()).strip("-")


def baseline_file(folder: Path = FOLDER) -> Path:
    """Return the file of this machine's figures."""
    return folder / f"{machine()}.json"


def save(ratios: Ratios, path: Path) -> None:
    """Store the figures. Measurements that were not repeated keep the stored ones."""
    stored = dict(_read(path)["ratios"]) if path.exists() else {}
    content = {"date": date.today().isoformat(), "torch": torch.__version__, "ratios": {**stored, **ratios}}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=2) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Return the stored figures.

    Raises:
        UserError: there are none for this machine, or the file is damaged.
    """
    if not path.exists():
        raise UserError(f"--compare: {path} does not exist. Measure this machine first, with --save")
    return _read(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        ratios = content["ratios"].values()
        valid = all(isinstance(value, float) and 0 < value < math.inf for value in ratios) and "date" in content
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: is not a file of scripts/benchmark.py --save ({error}). Delete it") from error
    if not valid:
        raise UserError(f"{path}: is not a file of scripts/benchmark.py --save. Delete it")
    found: dict[str, Any] = content
    return found


def slower(now: Ratios, before: Ratios) -> dict[str, float]:
    """Return the change of each measurement that has become slower by more than the tolerance: -0.2 is 20%."""
    changes = {name: value / before[name] - 1 for name, value in now.items() if name in before}
    return {name: change for name, change in changes.items() if change < -TOLERANCE}


def comparison(now: Ratios, before: Mapping[str, Any]) -> Table | str:
    """Return a table of what has become slower since `before`, see `read`, or a line if nothing has."""
    found = slower(now, before["ratios"])
    title = f"slower than on {before['date']} with torch {before['torch']}"
    if not found:
        return f"nothing is {title}"
    table = Table("measurement", "before", "now", "change", title=title)
    for name, change in sorted(found.items(), key=lambda item: item[1]):
        table.add_row(name, f"{before['ratios'][name]:.2f}", f"{now[name]:.2f}", f"{change:+.0%}")
    new = [name for name in now if name not in before["ratios"]]
    table.caption = f"ratios to the rival; {len(now) - len(new)} of {len(now)} measurements have a baseline"
    return table
