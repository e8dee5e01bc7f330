"""One run, from its config to its report: data, net, module, trainer, training, test of the best checkpoint."""

import gc
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from leyden.config.builders import build_data, build_module
from leyden.config.hyperparameters import given_overrides
from leyden.config.stored import stored_config
from leyden.data.datamodule import InMemoryData
from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.records.json_files import read_origin, read_report
from leyden.records.loggers import TensorBoard
from leyden.records.processes import end_with, is_first_process
from leyden.records.report import write_origin
from leyden.records.run_folder import (
    FOLDER_VARIABLE,
    create,
    lock,
    new_path,
    parent,
    read_text,
    save_config,
    unlock,
    write_text,
)
from leyden.seeding import seed_all
from leyden.training.callbacks import ConfigWriter
from leyden.training.fast_loop import use_fast_loop
from leyden.training.launcher import shared_folder
from leyden.training.limits import ending, raises_limit
from leyden.training.outcome import finish, test
from leyden.training.resume import check_progress, check_same_data, last_good_checkpoint
from leyden.training.signals import announce, restore_handlers
from leyden.training.trackers import Tracker
from leyden.training.trainer import Pruner, Training, build_training, silence_lightning
from leyden.training.transfer import initialise_weights

# Rank 0 of a run sets this variable, so that the other processes can notice that it has ended.
FIRST_PROCESS_VARIABLE = "LEYDEN_FIRST_PROCESS"


def run(cfg: DictConfig, folder: Path | None = None, pruner: Pruner | None = None) -> float:
    """Train, test and report.

    Args:
        cfg: a checked and resolved config, see `leyden.config.compose.compose`.
        folder: a run folder that this process has locked; the run resumes if it has a checkpoint. None: a new one.
        pruner: a callback that may stop the run early. Then it is not tested.

    Returns:
        The best value of the objective.

    Raises:
        UserError: a value in the config or the data is not allowed. No new folder was created.
        DivergedError: the loss or a weight became NaN or infinite.
        StoppedError: a signal ended the run; it can be resumed.
    """
    folder, is_new = folder or _new_folder(cfg), folder is None
    with _process(folder):
        began = time.perf_counter()
        path, checkpoint = (None, None) if is_new else last_good_checkpoint(folder)
        seed_all(torch.device("cpu"), cfg.seed, "init")
        module, data = build_module(cfg), build_data(cfg)
        training = build_training(cfg, module, data, folder, checkpoint, pruner)
        if checkpoint:
            check_progress(folder, training.position.epoch, cfg)
        initialise_weights(module, cfg, path, checkpoint)
        _read_data(data, cfg, folder if checkpoint else None)
        training.check_data(cfg.trainer, data)
        for part in (module, *module.members):
            part.use_facts(data.facts())
            if not checkpoint:
                part.prepare_fit(data)
        check_same_data(folder, data, cfg)
        cfg = cast(DictConfig, OmegaConf.merge(cfg, {"data": data.measured()}))
        _begin(cfg, folder, training, module, data, is_new)
        training.trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
        test(training, module, data, folder, cfg)
        finish(cfg, folder, training, data, time.perf_counter() - began)
        return training.checkpoints.best_score


def resume(folder: str | Path, overrides: Iterable[str] = ()) -> float:
    """Continue the run in `folder` from its last checkpoint; see `run`.

    Args:
        folder: a run folder.
        overrides: ``key=value`` of keys that may change, see `leyden.config.rules.RESUMABLE`.

    Returns:
        The best value of the objective.
    """
    if not folder:
        raise UserError("resume: is empty, must be a run folder. Is a variable of your shell not set?")
    folder = Path(folder).expanduser().resolve()
    cfg = stored_config(folder, overrides)
    report = read_report(folder)
    read_origin(folder)  # a damaged one is reported now, not after the training
    if report and report["state"] == "finished" and not raises_limit(cfg, report, folder):
        key, limit = ending(report, folder)
        print(f"{folder} is finished. It ended by {key}={limit}. To continue it, give a larger {key}")
        return float(report["objective"]["best"])
    if is_first_process():
        lock(folder)
    return run(cfg, folder)


def _read_data(data: InMemoryData, cfg: DictConfig, resumed: Path | None) -> None:
    """Read the training set. The tokens are those of the run that the weights come from, if there is one."""
    if folder := resumed or (cfg.init_from and Path(cfg.init_from).expanduser()):
        data.use_files_of_run(lambda name: read_text(folder / name))
    data.prepare_data()
    data.setup("fit")


def _new_folder(cfg: DictConfig) -> Path:
    """Return the path of a new run folder, the same one on all processes of the run."""
    return shared_folder(lambda: new_path(parent(cfg.paths.logs, cfg.name)))


@contextmanager
def _process(folder: Path) -> Iterator[None]:
    """Set this process up for a run, and clean up after it, so that a notebook can run several."""
    silence_lightning()
    if is_first_process():
        os.environ[FIRST_PROCESS_VARIABLE] = str(os.getpid())
    else:
        # Not just the parent of this moment: rank 0 may have been killed while this process was starting.
        end_with(int(os.environ.get(FIRST_PROCESS_VARIABLE, os.getppid())))
    gc.collect()
    gc.freeze()  # otherwise Python's collector visits all that was imported again and again: 3% of a small net's step
    try:
        yield
    finally:
        restore_handlers()
        announce("", None)
        unlock(folder)
        gc.unfreeze()
        os.environ.pop(FOLDER_VARIABLE, None)
        if is_first_process():
            os.environ.pop(FIRST_PROCESS_VARIABLE, None)
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # its threads can outlive the interpreter's end


def _begin(
    cfg: DictConfig, folder: Path, training: Training, module: BaseModule, data: InMemoryData, is_new: bool
) -> None:
    """Create the folder, write what is known before the training, and announce the run."""
    trainer = training.trainer
    trainer.callbacks.append(ConfigWriter(lambda: save_config(folder, cfg)))  # type: ignore[attr-defined]
    training.uses_fast_loop = use_fast_loop(trainer, module, data)
    if trainer.is_global_zero:
        if is_new:
            create(folder)
            os.environ[FOLDER_VARIABLE] = str(folder)
        if not (folder / "origin.json").exists():
            write_origin(folder, data.fingerprint(), given_overrides())
        for name, text in data.files_of_run().items():
            if not (folder / name).exists():
                write_text(folder / name, text)
        if not (folder / "config.yaml").exists():
            save_config(folder, cfg)
    announce("before the first step", folder)
    if cfg.trainer.compile:
        module.net.compile()
    for logger in trainer.loggers:
        if isinstance(logger, Tracker):
            logger.begin(cfg)
        if isinstance(logger, TensorBoard) and not training.position.steps:
            logger.log_text("config", f"```yaml\n{OmegaConf.to_yaml(cfg)}\n```")
    _announce(cfg, module, data, folder)


@rank_zero_only
def _announce(cfg: DictConfig, module: BaseModule, data: InMemoryData, folder: Path) -> None:
    print(f"{cfg.name}: {module.num_parameters:,} parameters; {data.describe()}; writing to {folder}", flush=True)
