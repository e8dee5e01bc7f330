"""From which checkpoint a run resumes, and whether it has anything left to do."""

import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from leyden.config.stored import loaded_config
from leyden.data.datamodule import InMemoryData
from leyden.data.folder import Folder
from leyden.errors import UserError
from leyden.records import run_folder
from leyden.records.checkpoint_file import check_resumable, read_checkpoint
from leyden.records.json_files import read_origin
from leyden.records.loggers import read_metrics


def last_good_checkpoint(folder: Path) -> tuple[Path | None, dict[str, Any] | None]:
    """Return path and content of the last good checkpoint, or nothing if there is none yet.

    Raises:
        UserError: no checkpoint can be read, or best.ckpt, which the checkpoint refers to, is missing or damaged.
    """
    problem = None
    for path in (run_folder.last_checkpoint(folder), run_folder.previous_checkpoint(folder)):
        if not path.exists():
            continue
        try:
            checkpoint = read_checkpoint(path)
            check_resumable(checkpoint, path)
        except UserError as error:
            problem = problem or error
            continue
        if problem:
            print(f"{problem}. The run resumes from {path.name}", flush=True)
        state = checkpoint["callbacks"].get("Checkpoints")
        if not isinstance(state, dict) or not isinstance(state.get("best_epoch"), int):
            raise UserError(f"{path}: is not a checkpoint of Leyden (it does not know the best epoch)")
        if state["best_epoch"] >= 0:
            read_checkpoint(run_folder.best_checkpoint(folder))
        return path, checkpoint
    if problem:
        raise UserError(f"{problem}. Delete it to start again from step 0")
    return None, None


def check_progress(folder: Path, done: int, cfg: DictConfig) -> None:
    """Compare the number of epochs that a run has done with its config and its metrics.csv.

    Raises:
        UserError: the run has already trained more epochs than `cfg` allows.
    """
    if done > cfg.trainer.max_epochs:
        raise UserError(
            f"trainer.max_epochs: got {cfg.trainer.max_epochs}, but the run has already trained {done} epochs"
        )
    path = folder / "metrics.csv"
    rows = sum(bool(row.get("time/train_seconds")) for row in read_metrics(path))
    if rows < done:
        print(
            f"warning: {path}: has the metrics of {rows} epochs, but the run has trained {done}. The others are lost",
            file=sys.stderr,
        )


def data_problem(folder: Path, data: InMemoryData) -> str:
    """Return how `data` differs from the data of the run in `folder`, an empty text if it does not."""
    before = read_origin(folder).get("fingerprint")
    if before is None and isinstance(data, Folder):
        return "an earlier version of Leyden divided these images in another way when this run began"
    if before and before != data.fingerprint():
        return "the files have changed since this run began"
    return ""


def check_same_data(folder: Path, data: InMemoryData, cfg: DictConfig) -> None:
    """Check that a resumed run reads the data it began with. Warn if `init_from` may have used its test samples.

    Raises:
        UserError: the data has changed since the run in `folder` began: samples may have moved between its splits.
    """
    if (folder / "origin.json").exists() and (problem := data_problem(folder, data)):
        raise UserError(f"data: {problem}, so it cannot be resumed. Start a new run instead: init_from={folder}")
    if cfg.init_from is not None:
        other = loaded_config(Path(cfg.init_from).expanduser())
        same_data = other.data["_target_"] == cfg.data["_target_"]
        if same_data and other.data.get("seed") != cfg.data.get("seed"):
            seed = other.data.get("seed")
            print(
                f"warning: init_from: that run split its data with data.seed={seed}. Its training samples may be in "
                f"the validation or test split of this run; data.seed={seed} avoids it",
                file=sys.stderr,
            )
