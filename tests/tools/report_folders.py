"""Run folders and sweep folders as they are written by Leyden, without training."""

import csv
import json
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from leyden.config.compose import compose
from leyden.training.image_logger import write_png

CONFUSION = [[8, 2, 0], [1, 5, 0], [0, 0, 4]]
ORIGIN = {
    "command": "python train.py data=digits model=mlp",
    "versions": {"python": "3.11.7", "torch": "2.14.1"},
    "git": {"commit": "f1225ba8ed670353d84f57b93f2bf5721f8c34bd", "dirty": True},
    "fingerprint": "0123456789",
}


def make_report(**entries: Any) -> dict[str, Any]:
    """Return the report of a finished classification."""
    return {
        "name": "digits-mlp",
        "state": "finished",
        "objective": {"metric": "val/acc", "mode": "max", "best": 0.9, "epoch": 1},
        "metrics": {"val/loss": 0.4, "val/acc": 0.9, "test/loss": 0.5, "test/acc": 0.85},
        "confusion": CONFUSION,
        "absent_classes": [],
        "parameters": 12345,
        "epochs": 3,
        "max_epochs": 10,
        "seconds": {"total": 9.0, "training": 4.25},
        "images_per_second": 1234.5,
        "device": "cpu (x86_64, 1 thread)",
        "seed": 0,
        "overrides": ["optimizer.lr=0.01"],
        "data": {"name": "Digits", "sizes": {"train": 100, "val": 30, "test": 20}, "verified": True},
        **ORIGIN,
        **entries,
    }


def write_run(folder: Path, *overrides: str, report: dict[str, Any] | None = None, name: str | None = None) -> Path:
    """Write a run folder of three epochs; without a `report` it is unfinished."""
    (folder / "checkpoints").mkdir(parents=True)
    cfg = compose("data=digits", "model=mlp", "trainer.max_epochs=3", *overrides)
    if name is not None:
        cfg.name = name
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    (folder / "origin.json").write_text(json.dumps(ORIGIN))
    lines = ["epoch,step,lr,test/acc,train/acc,train/loss,val/acc,val/loss"]
    lines += [
        f"{e},{10 * e + 9},{0.001 * (e + 1)},,{0.6 + e / 10},{2 - e / 2},{0.7 + e / 10},{1.5 - e / 2}" for e in range(3)
    ]
    (folder / "metrics.csv").write_text("\n".join([*lines, "3,30,,0.85,,,,"]) + "\n")
    if report is not None:
        (folder / "report.json").write_text(json.dumps(report))
        (folder / "checkpoints" / "best.ckpt").write_bytes(b"")
    return folder


def write_images(folder: Path) -> None:
    """Write the images that a generative module and an evaluation leave behind."""
    for epoch in (1, 2, 10):
        write_png_file(folder / "samples" / f"epoch_{epoch:04}.png")
    write_png_file(folder / "evaluation" / "test" / "most_confident_errors.png")


def write_png_file(path: Path) -> None:
    """Write a grey image of 8 x 8 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, torch.full((1, 8, 8), 0.5))


def write_sweep(folder: Path, *, finished: bool = True) -> Path:
    """Write the folder of a sweep over lr and model with six trials; without its summary if it is not `finished`."""
    rows: list[dict[str, Any]] = []
    for number, (lr, model) in enumerate((lr, model) for lr in (0.001, 0.01, 0.1) for model in ("mlp", "cnn")):
        run = folder / str(number)
        run.mkdir(parents=True)
        own = [f"optimizer.lr={lr}", f"model={model}"]
        (run / "trial.json").write_text(json.dumps({"overrides": ["data=digits", *own], "config": {}}))
        accuracy = round(0.6 + number / 20, 2)
        objective = {"metric": "val/acc", "mode": "max", "best": accuracy, "epoch": 1}
        if number != 4:
            (run / "report.json").write_text(json.dumps(make_report(objective=objective)))
            (run / "metrics.csv").write_text(f"epoch,step,val/acc\n0,9,0.5\n1,19,{accuracy}\n")
        failed = {"state": "failed", "reason": "out of <memory>"}
        done = {"state": "done", "val/acc": accuracy}
        values = failed if number == 4 else done
        rows.append({"trial": number, "optimizer.lr": lr, "model": model, "seconds": 9.6 + number, **values})
    if finished:
        with (folder / "trials.csv").open("w", newline="") as file:
            columns = ["trial", "state", "val/acc", "optimizer.lr", "model", "seconds", "reason"]
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        best = {"trial": 5, "trials": [5], "runs": 1, "values": {"val/acc": 0.85}, "std": None}
        best |= {"overrides": ["optimizer.lr=0.1", "model=cnn"], "commands": ["python train.py data=digits model=cnn"]}
        summary = {"name": folder.name, "objectives": {"val/acc": "max"}, "n_trials": 6, "sampler": "brute_force"}
        summary |= {"pruner": "none", "seeds": 1, "base": ["data=digits"], "best": [best]}
        summary |= {"importances": {"optimizer.lr": 0.75, "model": 0.25}}
        (folder / "sweep.json").write_text(json.dumps(summary))
    (folder / "identity.json").write_text(json.dumps({"content": [], "config": {}, "choices": {}, "token": "0"}))
    return folder
