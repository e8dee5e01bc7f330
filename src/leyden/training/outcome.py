"""The end of a run: the test of its best checkpoint, and its report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from leyden.config.builders import section
from leyden.config.hyperparameters import set_hyperparameters
from leyden.data.datamodule import InMemoryData
from leyden.modules.base import BaseModule
from leyden.modules.determinism import nondeterministic_kernels
from leyden.records import run_folder
from leyden.records.json_files import read_origin
from leyden.records.loggers import tensorboards
from leyden.records.report import device_name, print_report, this_command, training_time, write_report
from leyden.training.limits import ended_by
from leyden.training.projector import write_projector
from leyden.training.signals import announce, restore_handlers
from leyden.training.trackers import Tracker
from leyden.training.trainer import Training
from leyden.training.validation_plots import best_curve


def test(training: Training, module: BaseModule, data: InMemoryData, folder: Path, cfg: DictConfig) -> None:
    """Test the best checkpoint, once. If the run has not been validated yet, it is validated first."""
    announce("after the training", folder)
    restore_handlers()
    trainer, training.steps = training.trainer, training.position.steps
    if training.checkpoints.best_epoch < 0:
        trainer.validate(module, datamodule=data, verbose=False)
    if not training.pruned and cfg.trainer.limit_test_batches:
        best = run_folder.best_checkpoint(folder)
        data.setup("test")
        if int(trainer.limit_test_batches * len(data.test_dataloader())) == 0:
            trainer.limit_test_batches = 1  # a finished training does not fail because of a small fraction
        trainer.test(module, datamodule=data, ckpt_path=best, verbose=False, weights_only=True)


@rank_zero_only
def finish(cfg: DictConfig, folder: Path, training: Training, data: InMemoryData, seconds: float) -> None:
    """Write report.json and print it."""
    report = _report(cfg, folder, training, data, seconds)
    _show_result(cfg, folder, training, data, report)
    for logger in training.trainer.loggers:
        if isinstance(logger, Tracker):
            logger.finish(cfg, report)
        logger.finalize("success")
    write_report(folder, report)
    print_report(report, folder)


def _show_result(
    cfg: DictConfig, folder: Path, training: Training, data: InMemoryData, report: Mapping[str, Any]
) -> None:
    """Show the result in TensorBoard: the settings with the metrics, and the projector."""
    objective, overrides = report["objective"], report.get("overrides")
    settings = set_hyperparameters(cfg, filter(_is_text, overrides) if isinstance(overrides, list) else ())
    best = {best_curve(objective["metric"]): objective["best"]}
    tested = {name: value for name, value in report["metrics"].items() if name.startswith("test/")}
    module = cast(BaseModule, training.trainer.lightning_module)
    for logger in tensorboards(training.trainer.loggers):
        logger.log_result(settings, best, tested, training.steps)
        if logger.embeddings and not training.pruned:
            device = training.trainer.strategy.root_device
            write_projector(folder, module, data, logger.embeddings, device)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _report(cfg: DictConfig, folder: Path, training: Training, data: InMemoryData, seconds: float) -> dict[str, Any]:
    """Return what report.json holds: the same entries for every run, and those of the module's `report`."""
    trainer, checkpoints = training.trainer, training.checkpoints
    module = cast(BaseModule, trainer.lightning_module)
    tested = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
    spent = training_time(folder)
    kernels = nondeterministic_kernels(module, trainer.strategy.root_device.type, cfg.trainer.deterministic)
    return {
        "name": cfg.name,
        "state": "pruned" if training.pruned else "finished",
        "objective": {**section(cfg, "objective"), "best": checkpoints.best_score, "epoch": checkpoints.best_epoch},
        "metrics": {**checkpoints.best_metrics, **tested},
        **(module.report() if tested else {}),
        **({"members": module.member_reports(cfg.seed, cfg.ensemble_lr)} if tested and module.members else {}),
        **({"clients": training.federated.report()} if training.federated and tested else {}),
        **({"privacy": training.spending.report()} if training.spending else {}),
        "parameters": module.num_parameters,
        "epochs": trainer.current_epoch,
        "max_epochs": trainer.max_epochs,
        "steps": trainer.global_step,
        **({} if training.pruned else {"ended_by": ended_by(trainer, cfg)}),
        "early_stopping": section(cfg, "early_stopping"),
        "seconds": {"total": seconds, "training": spent["seconds"]},
        "images_per_second": spent["rate"],
        "device": device_name(trainer.strategy.root_device),
        "processes": trainer.world_size,
        "precision": trainer.precision,
        "deterministic": not kernels,
        **({"nondeterministic_kernels": kernels} if kernels else {}),
        "loop": "fast" if training.uses_fast_loop else "lightning",
        "seed": cfg.seed,
        "data": {
            "name": type(data).__name__,
            "sizes": data.sizes(),
            "verified": data.verified,
            **({"train_on_all": True} if data.train_on_all else {}),
        },
        **read_origin(folder),
        "last_command": this_command(),
    }
