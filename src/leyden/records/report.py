"""report.json and the table at a run's end; and where the code stood that made it."""

import json
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from rich.console import Console
from rich.table import Table

from leyden.config.compose import CONF
from leyden.data.datamodule import InMemoryData
from leyden.modules.base import BaseModule
from leyden.records.loggers import read_metrics
from leyden.records.run_folder import write_text
from leyden.training.checkpoints import Checkpoints

PACKAGES = ("leyden", "torch", "lightning", "torchmetrics", "torchvision", "hydra-core", "numpy")


def write_origin(folder: Path) -> None:
    """Write origin.json: command, versions and git commit; and the uncommitted changes, if there are any."""
    diff = _git("diff", "HEAD")
    origin = {
        "command": shlex.join(["python", *sys.argv]),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "git": {"commit": _git("rev-parse", "HEAD").strip(), "dirty": bool(_git("status", "--porcelain").strip())},
    }
    write_text(folder / "origin.json", json.dumps(origin, indent=2) + "\n")
    if diff:
        write_text(folder / "uncommitted.diff", diff)


def _git(*arguments: str) -> str:
    """What git prints of Leyden's clone; nothing where there is no git or no clone."""
    try:
        command = ["git", "-C", str(CONF.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def make_report(
    folder: Path, trainer: Trainer, data: InMemoryData, checkpoints: Checkpoints, config: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """What report.json holds: the same entries for every run, and what `BaseModule.report` of its module adds.

    Args:
        folder: the run folder, with origin.json and metrics.csv.
        trainer: after its test, or its training where that was pruned.
        data: with its sizes.
        checkpoints: knows the best epoch.
        config: of the run.
        seconds: since this process began the run.
    """
    module = trainer.lightning_module
    assert isinstance(module, BaseModule)
    tested = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
    rows = [row for row in read_metrics(folder / "metrics.csv") if row.get("time/train_seconds")]
    training = sum(float(row["time/train_seconds"]) for row in rows)
    samples = sum(float(row["time/train_seconds"]) * float(row["time/images_per_second"]) for row in rows)
    return {
        "name": config["name"],
        "state": "finished" if tested else "pruned",
        "objective": {**config["objective"], "best": checkpoints.best_score, "epoch": checkpoints.best_epoch},
        "metrics": {**checkpoints.best_metrics, **tested},
        **(module.report() if tested else {}),
        "parameters": module.num_parameters,
        "epochs": trainer.current_epoch,
        "max_epochs": trainer.max_epochs,
        "steps": trainer.global_step,
        "seconds": {"total": seconds, "training": training},
        "images_per_second": samples / training if training else 0.0,
        "device": device_name(trainer),
        "processes": trainer.world_size,
        "precision": trainer.precision,
        "seed": config["seed"],
        "data": {"name": type(data).__name__, "sizes": data.sizes(), "verified": data.verified},
        **json.loads((folder / "origin.json").read_text()),
    }


def device_name(trainer: Trainer) -> str:
    """``cuda (NVIDIA A100-SXM4-40GB)`` or ``cpu (x86_64, 8 threads)``"""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def print_report(report: dict[str, Any], folder: Path) -> None:
    """A short table of the figures, and the folder."""
    console = Console()
    console.print(metrics_table(report))
    unverified = "" if report["data"]["verified"] else "; data not verified, see the warning above"
    console.print(
        f"{report['parameters']:,} parameters, {report['epochs']} epochs in {report['seconds']['training']:.1f} s "
        f"({report['images_per_second']:,.0f} samples/s) on {report['device']}{unverified}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(str(folder), highlight=False, soft_wrap=True)


def metrics_table(report: dict[str, Any]) -> Table:
    """A row per split, a column per metric that any split has, loss and objective first."""
    metrics: dict[str, float] = report["metrics"]
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
        table.add_row(split, *(_figure(metrics[key]) if key in metrics else "" for key in keys))
    return table


def _figure(value: float) -> str:
    """``0.9889``, but ``2,931.4``"""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
