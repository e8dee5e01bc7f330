"""One run: config → datamodule, module, trainer → fit → test of the best checkpoint → report."""

import gc
import json
import logging
import os
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from leyden.config.builders import build_module, cfg_dict, load_weights
from leyden.config.instantiate import build
from leyden.config.rules import override
from leyden.data.datamodule import InMemoryData
from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.records import run_folder
from leyden.records.report import make_report, print_report, write_origin
from leyden.records.run_folder import last_checkpoint
from leyden.records.tensorboard import log_hyperparameters, write_first_page
from leyden.seeding import seed_all
from leyden.sweep.job import JobSpec, end_with
from leyden.sweep.locks import hold
from leyden.sweep.pruning import Pruner
from leyden.training import transfer
from leyden.training.checkpoints import Checkpoints
from leyden.training.fast_loop import use_fast_loop
from leyden.training.trainer import build_trainer, check_manual, equip

# Set by the first process of a run, so that the others of a DDP run can see whether it lives.
FIRST_PROCESS_VARIABLE = "LEYDEN_FIRST_PROCESS"


def run(cfg: DictConfig, job: JobSpec | None = None) -> float:
    """Train, test and report, in a new run folder.

    Args:
        cfg: resolved, see `leyden.config.compose`.
        job: of a sweep; it goes on in its folder, where there may be a checkpoint, and may be pruned.

    Returns:
        The best value of the objective.

    Raises:
        UserError: something in the config or the data is wrong; no folder is made.
        DivergedError: the loss or a weight became NaN or infinite.
        StoppedError: by SIGTERM or Ctrl-C, with a checkpoint.
    """
    if not job:
        return _run(cfg, folder=None)
    folder = _job_folder(job)
    if (folder / "report.json").exists():
        return float(json.loads((folder / "report.json").read_text())["objective"]["best"])
    return _run(cfg, folder, Pruner(job.pruning, cfg.objective.metric) if job.pruning else None)


def resume(folder: str | Path, overrides: Iterable[str] = ()) -> float:
    """Go on with a run in its folder, from its last checkpoint; see `run`.

    Args:
        folder: of the run.
        overrides: ``key=value`` of what may differ, see `leyden.config.RESUMABLE`.
    """
    folder = Path(folder).resolve()
    cfg = override(run_folder.read_config(folder), overrides)
    report = folder / "report.json"
    if report.exists():
        done = json.loads(report.read_text())
        if done["state"] == "finished" and cfg.trainer.max_epochs <= done["max_epochs"]:
            epochs, best = done["epochs"], done["objective"]["best"]
            print(f"{folder} is finished, after {epochs} epochs. A larger trainer.max_epochs takes it further.")
            return float(best)
    return _run(cfg, folder)


def _run(cfg: DictConfig, folder: Path | None, pruner: Pruner | None = None) -> float:
    began = time.perf_counter()
    silence_lightning()
    _end_with_first_process()
    last = last_checkpoint(folder) if folder and last_checkpoint(folder).exists() else None
    checkpoint = run_folder.read_checkpoint(last) if last else None

    seed_all(torch.device("cpu"), cfg.seed, "init")
    module = build_module(cfg)
    data = build(cfg_dict(cfg.data), "data")
    assert isinstance(data, InMemoryData)
    trainer = build_trainer(cfg)
    check_manual(module, cfg)
    if checkpoint and last:
        load_weights(module, checkpoint, last)
    else:
        transfer.start(module, cfg.init_from)
    trainer.callbacks += transfer.callbacks(module)  # type: ignore[attr-defined]
    parent = folder.parent if folder else run_folder.parent(cfg.paths.logs, cfg.name)
    data.prepare_data()
    data.setup("fit")
    cfg = cast(DictConfig, OmegaConf.merge(cfg, {"data": data.measured()}))
    module.use_facts(data.facts())
    if not last:
        module.prepare_fit(data)

    first_step = next_step(checkpoint) if folder else None
    folder = folder or _new_folder(parent)
    if trainer.is_global_zero:
        run_folder.save_config(folder, cfg)
    checkpoints = equip(trainer, cfg, folder, first_step)
    if pruner:
        trainer.callbacks.append(pruner)  # type: ignore[attr-defined]
    if cfg.trainer.compile:
        module.net.compile()
    _announce(cfg, module, data, folder)
    if not last:
        write_first_page(trainer.loggers, OmegaConf.to_yaml(cfg), data)
    use_fast_loop(trainer, module)
    gc.freeze()  # else Python's collector walks all that was imported again and again: 3% of a small net's step
    trainer.fit(module, datamodule=data, ckpt_path=last, weights_only=True)
    if not (pruner and pruner.pruned):
        best = run_folder.best_checkpoint(folder)
        trainer.test(module, datamodule=data, ckpt_path=best, verbose=False, weights_only=True)
    _finish(trainer, data, checkpoints, cfg, folder, time.perf_counter() - began)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads can outlive the rest
    return checkpoints.best_score


def next_step(checkpoint: dict[str, Any] | None) -> int:
    """The first step that a run which goes on from `checkpoint` will log."""
    if checkpoint is None:
        return 0
    return int(checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"])


def _new_folder(parent: Path) -> Path:
    """A new folder, or that of the first process if this is another one of a DDP run."""
    if int(os.environ.get("LOCAL_RANK", 0)) > 0:
        if run_folder.FOLDER_VARIABLE not in os.environ:
            raise UserError(f"{run_folder.FOLDER_VARIABLE}: must name a folder where a launcher starts the processes")
        return Path(os.environ[run_folder.FOLDER_VARIABLE])
    folder = run_folder.create(parent)
    os.environ[run_folder.FOLDER_VARIABLE] = str(folder)
    write_origin(folder)
    return folder


def _job_folder(job: JobSpec) -> Path:
    """That of a sweep's job, where an earlier process may have begun it, or still be at work.

    Some launchers' jobs outlive the sweep that sent them; the next sweep's job for the trial waits for such a one.
    """
    folder = Path(job.folder)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        hold(folder / ".running.lock")
        if not (folder / "origin.json").exists():
            write_origin(folder)
    return folder


def silence_lightning() -> None:
    """Silence what Lightning says at each start that is not about this run."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    # Lightning 2.6 asks torch 2.14 for these in its own code.
    warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
    warnings.filterwarnings("ignore", ".*functional.all_gather is deprecated.*", FutureWarning)
    # What is logged is of all processes already, to the last digit, or the first one's on purpose (its times).
    warnings.filterwarnings("ignore", ".*sync_dist=True.*")
    # Of a resumed run: ours goes on at the batch where the trainer is, without a state of its own.
    warnings.filterwarnings("ignore", ".*your dataloader is not resumable.*")
    # Metrics are logged per epoch, on purpose.
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")


def _end_with_first_process() -> None:
    """In another process of a DDP run: end when the first is gone, also by kill -9, instead of waiting for it."""
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        os.environ[FIRST_PROCESS_VARIABLE] = str(os.getpid())
    else:
        # Not just the parent of now: the first may have been killed while this one was starting.
        end_with(int(os.environ.get(FIRST_PROCESS_VARIABLE, os.getppid())))


@rank_zero_only
def _announce(cfg: DictConfig, module: BaseModule, data: InMemoryData, folder: Path) -> None:
    sizes = ", ".join(f"{num:,} {split}" for split, num in data.sizes().items())
    print(f"{cfg.name}: {module.num_parameters:,} parameters; {sizes} samples; writing to {folder}", flush=True)


@rank_zero_only
def _finish(
    trainer: Trainer, data: InMemoryData, checkpoints: Checkpoints, cfg: DictConfig, folder: Path, seconds: float
) -> None:
    config = cfg_dict(cfg)
    report = make_report(folder, trainer, data, checkpoints, config, seconds)
    log_hyperparameters(trainer, config, report["metrics"])
    for logger in trainer.loggers:
        logger.finalize("success")
    run_folder.write_text(folder / "report.json", json.dumps(report, indent=2) + "\n")
    print_report(report, folder)
