"""Build the net, module, data, callbacks and loggers of a config."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from leyden.config.agreement import check_agreement
from leyden.config.ensembles import check_ensemble, seeded
from leyden.config.instantiate import (
    ANY_CLASS,
    TRUSTED,
    Trusted,
    check_complete,
    check_kind,
    config_errors,
    instantiate,
    instantiate_partial,
    locate,
    takes,
)
from leyden.config.suggest import nearest
from leyden.data.datamodule import InMemoryData
from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.modules.members import MemberNet
from leyden.modules.supervised import SupervisedModule
from leyden.nets.ensemble import Ensemble
from leyden.nets.memory import check_memory
from leyden.optim import OptimizerFactory, SchedulerFactory, counts_steps

LISTED_TRUSTED = (*TRUSTED, "leyden.records")  # callbacks and loggers that a run folder may name


def build_module(cfg: DictConfig) -> BaseModule:
    """Return the net of ``cfg.model`` inside the LightningModule of ``cfg.task``. The weights are random.

    With ``cfg.ensemble`` above 1, the net consists of that many nets, each with the weights of its own seed.

    Raises:
        UserError: a value in the config is not allowed, for example one of the optimizer.
    """
    check_agreement(cfg)
    optimizer = instantiate_partial(section(cfg, "optimizer"), "optimizer", Optimizer)
    scheduler = instantiate_partial(section(cfg, "scheduler"), "scheduler", LRScheduler)
    weights, steps = [Parameter(torch.zeros(1))], [100] if counts_steps(scheduler) else []
    check_complete(optimizer, "optimizer", weights)
    with config_errors("optimizer", optimizer.func):
        trial = optimizer(weights)
        check_kind(trial, "optimizer", Optimizer)
    check_complete(scheduler, "scheduler", trial, *steps)
    with config_errors("scheduler", scheduler.func):
        check_kind(scheduler(trial, *steps), "scheduler", LRScheduler)
    check_has_outputs(cfg)
    build_net = partial(instantiate, section(cfg, "model"), "model", nn.Module)
    check_memory(build_net, cfg.ensemble)
    build_task = partial(_task, cfg, optimizer, scheduler)
    module = build_task(build_net())
    if cfg.ensemble > 1:
        check_ensemble(cfg, module, optimizer.func)
        module = _ensemble(cfg, build_net, build_task)
    check_objective(cfg.objective.metric, module)
    if cfg.trainer.channels_last:
        module.net.to(memory_format=torch.channels_last)
    if cfg.trainer.precision == "64-true":
        module.double()  # before weights are loaded: otherwise they pass through float32
    return module


def check_has_outputs(cfg: DictConfig) -> None:
    """Raise UserError if the task sets the number of outputs of a net that has a task of its own."""
    net = locate(str(cfg.model["_target_"]), "model")
    if "num_outputs" in cfg.model and not takes(net, "num_outputs"):
        raise UserError(
            f"model.num_outputs: {net.__name__} has no such key. If you have chosen a task, leave it out: this model "
            "has a task of its own"
        )


def _task(cfg: DictConfig, optimizer: OptimizerFactory, scheduler: SchedulerFactory, net: nn.Module) -> BaseModule:
    module: BaseModule = instantiate(
        section(cfg, "task"),
        "task",
        BaseModule,
        net=net,
        optimizer=optimizer,
        scheduler=scheduler,
        objective=section(cfg, "objective"),
    )
    return module


def _ensemble(
    cfg: DictConfig, build_net: Callable[[], nn.Module], build_task: Callable[[nn.Module], BaseModule]
) -> SupervisedModule:
    """Return the module of an ensemble with the module of each member, see `leyden.modules.members`."""
    net = Ensemble([seeded(build_net, cfg.seed + number) for number in range(cfg.ensemble)])
    module, *members = (build_task(part) for part in (net, *(MemberNet(net, k) for k in range(cfg.ensemble))))
    assert isinstance(module, SupervisedModule)
    module.join([member for member in members if isinstance(member, SupervisedModule)])
    module.rate_factors = [rate / cfg.optimizer.lr for rate in cfg.ensemble_lr]
    return module


def trained_module(cfg: DictConfig, checkpoint: Mapping[str, Any], path: Path) -> BaseModule:
    """Return the LightningModule of a config with the weights of `checkpoint`: in eval mode, in the run's precision.

    Args:
        cfg: the config.
        checkpoint: has the weights as ``state_dict``.
        path: the file that they come from, for messages.

    Raises:
        UserError: the weights do not fit the config.
    """
    module = build_module(cfg)
    load_weights(module, checkpoint, path)
    if cfg.trainer.precision == "bf16-true":
        module.to(torch.bfloat16)
    return module.eval()


def check_objective(metric: str, module: BaseModule) -> None:
    """Raise UserError if `module` does not log `metric`, such as ``val/acc``."""
    known = [f"val/{name}" for name in module.validation_metrics]
    if known and metric not in known:
        raise UserError(f"objective.metric: got {metric}{nearest(metric, known)}; this task has {', '.join(known)}")


def build_data(cfg: DictConfig) -> InMemoryData:
    """Return the LightningDataModule of ``cfg.data``, before it has read anything.

    Raises:
        UserError: a value in the config is not allowed.
    """
    data: InMemoryData = instantiate(section(cfg, "data"), "data", InMemoryData)
    data.trains_unlabelled = _trains_unlabelled(cfg)
    own = cfg.ensemble_order == "own"
    data.order_seeds = [data.seed + own * number for number in range(cfg.ensemble)]
    return data


def _trains_unlabelled(cfg: DictConfig) -> bool:
    task = locate(str(cfg.task["_target_"]), "task")
    return isinstance(task, type) and issubclass(task, BaseModule) and task.trains_unlabelled


def build_callbacks(specs: Mapping[str, Any], trusted: Trusted = ANY_CLASS) -> list[Callback]:
    """Return the callbacks of ``cfg.callbacks``, a mapping of names to objects with a `_target_`."""
    keys = {f"callbacks.{name}": spec for name, spec in specs.items()}
    return [instantiate(_named(spec, key), key, Callback, trusted) for key, spec in keys.items()]


def build_loggers(
    specs: Mapping[str, Any], folder: Path, first_step: int, trusted: Trusted = ANY_CLASS
) -> list[Logger]:
    """Return the loggers of ``cfg.logger``. Leyden's own also receive the run folder and the first step.

    Args:
        specs: a mapping of names to objects with a `_target_`.
        folder: the run folder.
        first_step: the first step that this process will log; larger than 0 if the run is resumed.
        trusted: packages that a target may come from.
    """
    built = []
    for name, spec in specs.items():
        key = f"logger.{name}"
        spec = _named(spec, key)
        own = str(spec["_target_"]).startswith("leyden.")
        extra: dict[str, Any] = {"folder": folder, "first_step": first_step} if own else {}
        built.append(instantiate(spec, key, Logger, trusted, **extra))
    return built


def _named(spec: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(spec, Mapping) or "_target_" not in spec:
        raise UserError(f"{key}: got {spec!r}, must have a class: +{key}._target_=CLASS")
    return spec


def load_weights(module: LightningModule, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Load the weights of `checkpoint` into `module`.

    Raises:
        UserError: they belong to another model; the message names the first weight that differs.
    """
    found, wanted = checkpoint["state_dict"], module.state_dict()
    for name in [*wanted, *found]:
        if name not in found or name not in wanted or found[name].shape != wanted[name].shape:
            shapes = [list(state[name].shape) if name in state else "missing" for state in (found, wanted)]
            raise UserError(
                f"{path}: belongs to another model ({name} is {shapes[0]} in the file and {shapes[1]} in the config)"
            )
    module.load_state_dict(dict(found))


def section(cfg: DictConfig, name: str) -> dict[str, Any]:
    """Return a section of the config as plain values, because the lower layers receive no config object."""
    values = OmegaConf.to_container(cfg[name], resolve=False)  # a stored config has no interpolations to resolve
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
