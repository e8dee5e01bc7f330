"""The Lightning Trainer of a config, and what it writes with."""

import os
import sys
from pathlib import Path

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from leyden.config.builders import cfg_dict
from leyden.config.instantiate import check_arguments
from leyden.errors import UserError
from leyden.records.loggers import MetricsCSV
from leyden.records.tensorboard import TensorBoard
from leyden.training.callbacks import (
    DivergenceGuard,
    EarlyStopping,
    EpochStats,
    NoProfiler,
    PlainProgress,
    ProgressBar,
    SameBuffers,
    StepSeed,
)
from leyden.training.checkpoints import AtomicCheckpointIO, Checkpoints
from leyden.training.fast_loop import FastTrainer
from leyden.training.image_logger import ImageLogger


def build_trainer(cfg: DictConfig) -> Trainer:
    """The Trainer of ``cfg.trainer`` with the callbacks that need no folder.

    Raises:
        UserError: it does not take these values, or this machine has no such device.
    """
    arguments = {name: value for name, value in cfg_dict(cfg.trainer).items() if name != "compile"}
    if arguments["gradient_clip_val"] == 0:
        arguments["gradient_clip_val"] = None
    # Deterministic torch fills each new tensor with NaN, to show who reads what was never written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    terminal = sys.stdout.isatty()
    callbacks: list[Callback] = [
        StepSeed(cfg.seed),
        EarlyStopping(cfg.objective.metric, mode=cfg.objective.mode, **cfg_dict(cfg.early_stopping)),
        EpochStats(),
        ProgressBar() if terminal else PlainProgress(cfg.objective.metric),
    ]
    try:
        trainer = FastTrainer(
            **check_arguments(Trainer, arguments, "trainer"),
            callbacks=callbacks,
            profiler=NoProfiler(),
            plugins=[AtomicCheckpointIO()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=terminal,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except UserError:
        raise
    except (ValueError, MisconfigurationException, ModuleNotFoundError) as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
    if trainer.strategy.root_device.type == "cpu":
        # Lightning has torch look for a GPU driver's library at each step of the optimizer: 0.3 ms.
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    return trainer


def check_manual(module: LightningModule, cfg: DictConfig) -> None:
    """Raises UserError if `cfg` asks of a module that takes its optimizers' steps itself what only Lightning's can."""
    if module.automatic_optimization:
        return
    steps_alone = "this model has several optimizers and takes their steps itself"
    if cfg.trainer.gradient_clip_val:
        raise UserError(f"trainer.gradient_clip_val: {steps_alone}; task.gradient_clip_val limits each gradient")
    if cfg.trainer.accumulate_grad_batches > 1:
        raise UserError(f"trainer.accumulate_grad_batches: {steps_alone}, one for each batch; data.batch_size is free")
    if cfg.trainer.precision == "16-mixed":
        raise UserError(f"trainer.precision: {steps_alone}, without the scaled loss of 16-mixed; bf16-mixed goes")


def equip(trainer: Trainer, cfg: DictConfig, folder: Path, first_step: int | None) -> Checkpoints:
    """Give `trainer` the callbacks and loggers that write into `folder`.

    Args:
        first_step: that a resumed run will log; what its loggers wrote from there on is dropped.
    """
    guard = DivergenceGuard()
    checkpoints = Checkpoints(folder, cfg.objective.metric, cfg.objective.mode, cfg.checkpoint.every_n_steps, guard)
    loggers: list[Logger] = [MetricsCSV(folder, first_step or 0)]
    if cfg.tensorboard:
        loggers.append(TensorBoard(folder, name="", version="", default_hp_metric=False, purge_step=first_step))
    trainer.loggers = loggers
    if trainer.world_size > 1:
        trainer.callbacks.append(SameBuffers())  # type: ignore[attr-defined]
    trainer.callbacks += [guard, ImageLogger(folder), checkpoints]  # type: ignore[attr-defined]
    return checkpoints
