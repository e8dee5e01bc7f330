"""report.json, the table at the end of a run, and origin.json: which code made the run."""

import json
import math
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from leyden.records.loggers import read_metrics
from leyden.records.run_folder import write_text

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("leyden", "torch", "lightning", "torchmetrics", "torchvision", "hydra-core", "numpy")
MAX_UNTRACKED_BYTES = 1_000_000  # of a file; larger ones are named without their content


def write_origin(folder: Path, fingerprint: str = "", overrides: Sequence[str] = ()) -> None:
    """Write origin.json with command, versions, git commit and data. Write uncommitted.diff if the code was changed.

    Args:
        folder: the run folder.
        fingerprint: hash of the data, see `leyden.data.datamodule.InMemoryData.fingerprint`.
        overrides: ``key=value`` that the run began with.
    """
    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    origin = {
        "command": this_command(),
        "overrides": list(overrides),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        # None: unknown, for example if the clone belongs to another user, which git refuses to read.
        "git": {
            "commit": commit.strip() if commit is not None else None,
            "dirty": bool(status.strip()) if status is not None else None,
        },
        "fingerprint": fingerprint,
    }
    write_text(folder / "origin.json", json.dumps(origin, indent=2) + "\n")
    if difference := (_git("diff", "HEAD") or "") + _untracked():
        write_text(folder / "uncommitted.diff", difference)


def this_command() -> str:
    """Return the command line of this process, quoted for the shell."""
    return shlex.join(["python", *sys.argv])


def _git(*arguments: str) -> str | None:
    """Return what git prints about Leyden's clone; None if there is no git or no clone, or git fails."""
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return None
    return result.stdout if result.returncode == 0 else None


def _untracked() -> str:
    """Return new files as a diff: `git diff` leaves them out, but a run may use them."""
    names = (_git("ls-files", "--others", "--exclude-standard", "-z") or "").split("\0")
    parts = []
    for name in filter(None, names):
        path = ROOT / name
        if path.is_symlink() or not path.is_file():
            continue
        if path.stat().st_size > MAX_UNTRACKED_BYTES or b"\0" in (content := path.read_bytes()):
            parts.append(f"diff --git a/{name} b/{name}\nnew file, binary or larger than 1 MB\n")
            continue
        lines = content.decode(errors="replace").splitlines()
        added = "".join(f"+{line}\n" for line in lines)
        parts.append(
            f"diff --git a/{name} b/{name}\nnew file\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n{added}"
        )
    return "".join(parts)


def training_time(folder: Path) -> dict[str, float]:
    """Return the training seconds and the samples per second, summed over all epochs in metrics.csv."""
    rows = [row for row in read_metrics(folder / "metrics.csv") if row.get("time/train_seconds")]
    seconds = sum(float(row["time/train_seconds"]) for row in rows)
    samples = sum(float(row["time/train_seconds"]) * float(row["time/images_per_second"]) for row in rows)
    return {"seconds": seconds, "rate": samples / seconds if seconds else 0.0}


def device_name(device: torch.device) -> str:
    """Return ``cuda (NVIDIA A100-SXM4-40GB)`` or ``cpu (x86_64, 8 threads)``."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device.type} ({platform.machine()}, {threads} thread{'s' * (threads != 1)})"


def write_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Write report.json. NaN and infinity, which JSON does not have, become null."""
    write_text(folder / "report.json", json.dumps(finite(report), indent=2, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """Return a copy of plain values with null instead of NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_report(report: Mapping[str, Any], folder: Path) -> None:
    """Print a short table of the metrics, and the folder."""
    console = Console()
    console.print(metrics_table(report))
    unverified = "" if report["data"]["verified"] else "; the data was not verified, see the warning above"
    console.print(
        f"{report['parameters']:,} parameters, {report['epochs']} epochs in {report['seconds']['training']:.1f} s "
        f"({report['images_per_second']:,.0f} samples/s) on {report['device']}{unverified}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(str(folder), highlight=False, markup=False, soft_wrap=True)


def metrics_table(report: Mapping[str, Any]) -> Table:
    """Return a table: one row per split, one column per metric. The loss and the objective come first.

    Of an ensemble, a split has three rows: mean and standard deviation over the members, and the combined outputs.
    """
    is_ensemble = "members" in report
    metrics: Mapping[str, float] = {_cell(name, is_ensemble): value for name, value in report["metrics"].items()}
    first = ("loss", report["objective"]["metric"].partition("/")[2])
    names = dict.fromkeys(name.partition("/")[2] for name in metrics)
    names = dict.fromkeys([*(name for name in first if name in names), *names])
    pruned = ", pruned" if report["state"] == "pruned" else ""
    title = f"{report['name']}, best epoch {report['objective']['epoch'] + 1}{pruned}"
    table = Table(title=title, title_justify="left")
    for heading in ("", *names):
        table.add_column(heading, justify="right" if heading else "left")
    for split in dict.fromkeys(name.partition("/")[0] for name in metrics):
        keys = [f"{split}/{name}" for name in names]
        table.add_row(split, *(_short(metrics[key]) if key in metrics else "" for key in keys))
    return table


def _cell(name: str, is_ensemble: bool) -> str:
    """Return row and column of a metric: ``val/acc``; of an ensemble also ``val ensemble/acc`` and ``val std/acc``."""
    split, _, metric = name.partition("/")
    if is_ensemble and metric.startswith("ensemble_"):
        return f"{split} ensemble/{metric.removeprefix('ensemble_')}"
    if is_ensemble and metric.endswith("_std"):
        return f"{split} std/{metric.removesuffix('_std')}"
    return name


def _short(value: float) -> str:
    """Return ``0.9889``, but ``2,931.4``."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
