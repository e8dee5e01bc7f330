"""Evaluate the best checkpoint of a run again.

Imports torch only when a function is called, because the command line imports this file.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from leyden.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

Split = Literal["val", "test"]
FOLD = "data.fold"


def evaluate(
    run: str | Path,
    split: Split = "test",
    data_root: str | None = None,
    data_path: str | None = None,
    accelerator: str = "auto",
) -> dict[str, float]:
    """Return the metrics of a run's best checkpoint on its validation or test split. Writes nothing.

    Uses one device, the precision of the run and all samples of the split, without ``trainer.limit_test_batches``.
    `leyden.tools.evaluator.Evaluator` also gives the outputs of the model, and evaluates other data.

    Args:
        run: a run folder.
        split: ``val`` or ``test``.
        data_root: a folder to read instead of the run's ``data.root``.
        data_path: a file to read instead of the run's ``data.path``.
        accelerator: auto, cpu, gpu, cuda or mps.

    Raises:
        UserError: `run` is not a run folder, its data is missing, or this machine has no such accelerator.
    """
    from leyden.tools.evaluator import Evaluator

    return Evaluator(run, data_root, data_path, accelerator).metrics(split)


def evaluate_folds(runs: Sequence[str | Path], **options: Any) -> dict[str, Any]:
    """Evaluate each run of a cross-validation on its own validation fold.

    Args:
        runs: run folders with the same config except ``data.fold``, or the folder of a sweep that contains them. One
            run is allowed.
        options: ``data_root``, ``data_path`` and ``accelerator`` of `evaluate`.

    Returns:
        ``num_folds``; ``folds``: number of the fold → metrics; ``mean`` and ``std`` (None for one fold): metric → its
        mean and standard deviation over the folds.

    Raises:
        UserError: a run has no folds, two runs have the same fold, or their configs differ; see also `evaluate`.
    """
    from leyden.config.stored import loaded_config

    folders = [folder for run in runs for folder in run_folders(Path(run))]
    configs = [loaded_config(folder) for folder in folders]
    check_folds(folders, configs)
    pairs = sorted((int(cfg.data.fold), folder) for cfg, folder in zip(configs, folders, strict=True))
    folds = {fold: evaluate(folder, "val", **options) for fold, folder in pairs}
    columns = {name: [metrics[name] for metrics in folds.values()] for name in next(iter(folds.values()))}
    return {
        "num_folds": int(configs[0].data.num_folds),
        "folds": folds,
        "mean": {name: statistics.mean(values) for name, values in columns.items()},
        "std": {
            name: statistics.stdev(values) if len(values) > 1 else None for name, values in columns.items()
        },
    }  # fmt: skip


def run_folders(folder: Path) -> list[Path]:
    """Return the run folders in `folder`, the folder of a sweep; or `folder` itself if it contains none."""
    found = sorted(path.parent for path in folder.glob("*/config.yaml"))
    return found if found and not (folder / "config.yaml").exists() else [folder]


def check_folds(folders: Sequence[Path], configs: Sequence["DictConfig"]) -> None:
    """Raise UserError unless the runs are different folds of one cross-validation."""
    for folder, cfg in zip(folders, configs, strict=True):
        if not cfg.data.get("num_folds"):
            raise UserError(f"--folds: {folder} has no folds (data.num_folds is 0)")
    seen: dict[int, Path] = {}
    for folder, cfg in zip(folders, configs, strict=True):
        if cfg.data.fold in seen:
            raise UserError(f"--folds: {seen[cfg.data.fold]} and {folder} are both fold {cfg.data.fold}")
        seen[cfg.data.fold] = folder
        if difference := first_difference(configs[0], cfg):
            raise UserError(f"--folds: {difference} of {folders[0]} and of {folder} differ")


def first_difference(one: "DictConfig", other: "DictConfig") -> str:
    """Return the first key of data, model or task in which two configs differ, the fold aside, or an empty text."""
    from omegaconf import OmegaConf

    from leyden.tools.read_runs import flat

    parts: list[dict[str, str]] = []
    for cfg in (one, other):
        values = {name: OmegaConf.to_container(cfg[name], resolve=False) for name in ("data", "model", "task")}
        parts.append(dict(flat(values)))
    own = {FOLD, "data.mean", "data.std", "data.root", "data.path"}  # measured on the fold, or a place
    keys = [key for key in {**parts[0], **parts[1]} if key not in own]
    return next((key for key in keys if parts[0].get(key) != parts[1].get(key)), "")
