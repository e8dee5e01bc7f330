"""The Lightning Trainer of a run, with all its callbacks and loggers. It is created here and nowhere else."""

import logging
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from omegaconf import DictConfig

from leyden.config.builders import build_callbacks, build_loggers, section
from leyden.config.federated_rules import check_one_process
from leyden.config.privacy_rules import check_processes
from leyden.data.datamodule import InMemoryData
from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.modules.combinations import check_combinations
from leyden.optim.privacy import Spending
from leyden.records.checkpoint_file import AtomicCheckpointIO
from leyden.records.loggers import MetricsCSV
from leyden.training.allocator import keep_freed_memory
from leyden.training.averaging import averaging_callbacks
from leyden.training.callbacks import (
    DivergenceGuard,
    EarlyStopping,
    EpochStats,
    ResumePosition,
    SameBuffers,
    StepSeed,
)
from leyden.training.checkpoints import Checkpoints
from leyden.training.fast_loop import FastTrainer
from leyden.training.federated_training import FederatedTraining, federated_training
from leyden.training.image_logger import ImageLogger
from leyden.training.launcher import external_launcher
from leyden.training.private_training import PrivateTraining, private_training
from leyden.training.step_curves import StepCurves
from leyden.training.terminal import PlainProgress, ProgressBar
from leyden.training.text_logger import TextLogger
from leyden.training.transfer import freeze_callbacks
from leyden.training.validation_plots import ValidationPlots

PROCESSES_PER_CORE = 4
NEVER = 2**62  # epochs of patience
# Keys of the section trainer that are no arguments of Lightning's Trainer.
OWN_KEYS = ("compile", "channels_last", "matmul_precision")


class Pruner(Protocol):
    """A callback that may stop a run before its end. Then `pruned` is true."""

    pruned: bool


@dataclass
class Training:
    """A Trainer, and the callbacks from which the report is made."""

    trainer: Trainer
    checkpoints: Checkpoints
    position: ResumePosition
    pruner: Pruner | None
    private: PrivateTraining | None = None
    federated: FederatedTraining | None = None
    uses_fast_loop: bool = False
    steps: int = 0  # of the whole training; `position` is that of the best checkpoint after the test

    def check_data(self, settings: Mapping[str, Any], data: InMemoryData) -> None:
        """Check the section ``trainer`` of the config when the data is read. Raises UserError."""
        check_limits(settings, data)
        if self.private:
            self.private.plan(data, settings)
        if self.federated:
            self.federated.plan(settings)

    @property
    def spending(self) -> Spending | None:
        """What the run has spent of its privacy budget; None if it has none."""
        return self.private.spending if self.private else self.federated.spending if self.federated else None

    @property
    def pruned(self) -> bool:
        """Whether the run was stopped by its pruner."""
        return self.pruner is not None and self.pruner.pruned


def build_training(
    cfg: DictConfig,
    module: BaseModule,
    data: InMemoryData,
    folder: Path,
    checkpoint: Mapping[str, Any] | None = None,
    pruner: Pruner | None = None,
) -> Training:
    """Create the Trainer of ``cfg.trainer``.

    Args:
        cfg, module, data: config, module and data of the run.
        folder: the run folder. It need not exist yet: nothing is written before the training starts.
        checkpoint: the run resumes from it.
        pruner: a callback that may stop the run.

    Raises:
        UserError: this machine does not have such a device, or a value does not fit another.
    """
    check_combinations(module, data, cfg.trainer.compile)
    private, federated = _learning(cfg, module, data, checkpoint)
    trainer = bare_trainer(section(cfg, "trainer"), module, build_profiler(cfg.trainer.profiler, folder))
    guard, position = DivergenceGuard(), ResumePosition(data.batch_size)
    first_step = position.load(checkpoint, trainer.world_size) if checkpoint else 0
    data.position = position.position
    checkpoints = _checkpoints(cfg, folder, guard, data)
    average, restore = averaging_callbacks(section(cfg, "averaging"), module)
    trainer.callbacks = [  # type: ignore[attr-defined]
        *_early_callbacks(cfg, data),
        *trainer.callbacks,  # type: ignore[attr-defined]
        *(guard, position, *_learning_callbacks(private, federated, trainer), *average),
        *_plotting_callbacks(folder, data, position, checkpoints),
        *freeze_callbacks(module, trainer.world_size),
        *build_callbacks(section(cfg, "callbacks")),
        *_optional_callbacks(trainer, pruner),
        checkpoints,  # after all others: it saves what they have done
        *restore,  # the weights that are trained, after the averages were saved
    ]
    trainer.loggers = [MetricsCSV(folder, first_step), *build_loggers(section(cfg, "logger"), folder, first_step)]
    return Training(trainer, checkpoints, position, pruner, private, federated)


def _learning(
    cfg: DictConfig, module: BaseModule, data: InMemoryData, checkpoint: Mapping[str, Any] | None
) -> tuple[PrivateTraining | None, FederatedTraining | None]:
    return private_training(cfg, module, data, checkpoint), federated_training(cfg, module, data, checkpoint)


def _checkpoints(cfg: DictConfig, folder: Path, guard: DivergenceGuard, data: InMemoryData) -> Checkpoints:
    objective, every_n_steps = cfg.objective, cfg.checkpoint.every_n_steps
    return Checkpoints(folder, objective.metric, objective.mode, every_n_steps, guard, data.train_on_all)


def _early_callbacks(cfg: DictConfig, data: InMemoryData) -> list[Callback]:
    """Return the callbacks that come before all others."""
    objective, stopping = cfg.objective, section(cfg, "early_stopping")
    if data.train_on_all:  # a validation on training samples must not end the training
        stopping["patience"] = NEVER
    return [
        StepSeed(cfg.seed),
        EarlyStopping(objective.metric, mode=objective.mode, **stopping),
        EpochStats(),
        ProgressBar(objective.metric) if sys.stdout.isatty() else PlainProgress(objective.metric),
    ]


def _plotting_callbacks(
    folder: Path, data: InMemoryData, position: ResumePosition, checkpoints: Checkpoints
) -> list[Callback]:
    """Return the callbacks that draw or write something to look at."""
    return [
        StepCurves(position),
        ImageLogger(folder, data, position),
        TextLogger(folder, data, position),
        ValidationPlots(data, position, checkpoints),
    ]


def _learning_callbacks(
    private: PrivateTraining | None, federated: FederatedTraining | None, trainer: Trainer
) -> list[Callback]:
    """Return the callbacks that change how a step or an epoch trains the weights."""
    if private:
        check_processes(trainer.world_size)
    if federated:
        check_one_process(trainer.world_size)
        trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]
    return [callback for callback in (private, federated) if callback]


def _optional_callbacks(trainer: Trainer, pruner: Pruner | None) -> list[Any]:
    return [*([SameBuffers()] if trainer.world_size > 1 else []), *([pruner] if pruner else [])]


def bare_trainer(settings: Mapping[str, Any], module: BaseModule, profiler: Profiler | None = None) -> Trainer:
    """Create the Trainer without callbacks and loggers, and set the process up for it."""
    check_manual_optimization(module, settings)
    if settings["num_nodes"] > 1 and external_launcher() is None and "MASTER_ADDR" not in os.environ:
        # Lightning would wait for the others for half an hour, and no signal could end it.
        raise UserError(
            f"trainer.num_nodes: got {settings['num_nodes']}, but neither torchrun nor srun started this process; "
            "start the run with one of them on each machine"
        )
    # In deterministic mode torch fills each new tensor with NaN, to show who reads uninitialised memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision(settings["matmul_precision"])
    arguments = {name: value for name, value in settings.items() if name not in OWN_KEYS}
    arguments["gradient_clip_val"] = arguments["gradient_clip_val"] or None
    arguments["profiler"] = profiler
    try:
        trainer = FastTrainer(
            **arguments,
            plugins=[AtomicCheckpointIO()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (ValueError, TypeError, MisconfigurationException, ModuleNotFoundError, RuntimeError) as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
    if trainer.strategy.root_device.type == "cpu":
        check_cpu_processes(trainer.num_devices)
        keep_freed_memory()
        # Lightning makes torch look for a GPU driver's library at each step of the optimizer: 0.3 ms.
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    return trainer


def check_cpu_processes(number: int) -> None:
    """Raise UserError if a run with so many processes would only block this machine."""
    cores = os.cpu_count() or 1
    if number > PROCESSES_PER_CORE * cores:
        raise UserError(
            f"trainer.devices: got {number} processes, but this machine has {cores} CPU cores and no GPU was chosen; "
            f"use at most {PROCESSES_PER_CORE * cores}"
        )


def build_profiler(name: str | None, folder: Path) -> Profiler | None:
    """Return a profiler that writes its tables into the run folder: ``fit-profile.txt`` and so on.

    The one of PyTorch also writes a trace, ``*.pt.trace.json``, which https://ui.perfetto.dev shows.
    """
    if name is None:
        return None
    kinds: dict[str, type[Profiler]] = {
        "simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler,
    }  # fmt: skip
    return kinds[name](dirpath=folder, filename="profile")


def check_manual_optimization(module: BaseModule, settings: Mapping[str, Any]) -> None:
    """Raise UserError if a manually optimised module is combined with a key that needs automatic optimisation."""
    if module.automatic_optimization:
        return
    reason = "this model has several optimizers and takes their steps itself"
    if settings["gradient_clip_val"]:
        raise UserError(f"trainer.gradient_clip_val: {reason}; use task.gradient_clip_val, which limits each gradient")
    if settings["accumulate_grad_batches"] > 1:
        raise UserError(f"trainer.accumulate_grad_batches: {reason}, one for each batch; use a larger data.batch_size")
    if settings["precision"] == "16-mixed":
        raise UserError(f"trainer.precision: {reason}, without the scaled loss of 16-mixed; use bf16-mixed")


def check_limits(settings: Mapping[str, Any], data: InMemoryData) -> None:
    """Raise UserError if a number or a fraction of batches does not fit the data. Call it when the data is read."""
    for name, loader in (("limit_train_batches", data.train_dataloader), ("limit_val_batches", data.val_dataloader)):
        limit = settings[name]
        if isinstance(limit, float) and limit < 1 and int(limit * len(loader())) < 1:
            raise UserError(f"trainer.{name}: got {limit}, which is less than one of the {len(loader())} batches")
    batches, limit, interval = (
        len(data.train_dataloader()),
        settings["limit_train_batches"],
        settings["val_check_interval"],
    )
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    if isinstance(interval, int) and interval > batches:
        raise UserError(
            f"trainer.val_check_interval: got {interval}, but an epoch has only {batches} training batches; give a "
            f"smaller number, or a fraction such as 0.5"
        )


def silence_lightning() -> None:
    """Silence the messages that Lightning prints at each start and that do not concern this run."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    # Lightning 2.6 calls these in its own code; torch 2.14 deprecates them.
    warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
    warnings.filterwarnings("ignore", ".*functional.all_gather is deprecated.*", FutureWarning)
    # What Leyden logs is reduced over all processes already, or comes from rank 0 on purpose (its times).
    warnings.filterwarnings("ignore", ".*sync_dist=True.*")
    # Leyden's loader starts at the position of a callback; it has no state of its own.
    warnings.filterwarnings("ignore", ".*your dataloader is not resumable.*")
    # A plateau schedule in a run that `trainer.max_steps` ends before its first validation.
    warnings.filterwarnings("ignore", ".*is not available but strict is set to `False`.*")
    # trainer.profiler=pytorch with a few steps, as with trainer=smoke.
    warnings.filterwarnings("ignore", ".*Profiler default schedule will be overridden.*")
    # Metrics are logged once per epoch, on purpose.
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
