"""From config to net and module, and weights into them."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from omegaconf import DictConfig, OmegaConf
from torch.nn import Parameter

from leyden.config.instantiate import build, build_factory, naming
from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.optim import counts_steps


def build_module(cfg: DictConfig) -> BaseModule:
    """The net of ``cfg.model`` inside the LightningModule of ``cfg.task``, weights drawn by torch's generator.

    Raises:
        UserError: a value in the config is wrong, those of the optimizer and the schedule included.
    """
    optimizer = build_factory(cfg_dict(cfg.optimizer), "optimizer")
    scheduler = build_factory(cfg_dict(cfg.scheduler), "scheduler")
    with naming("optimizer", optimizer):
        trial = optimizer([Parameter(torch.zeros(1))])
    with naming("scheduler", scheduler):
        scheduler(trial, *([100] if counts_steps(scheduler) else []))
    net = build(cfg_dict(cfg.model), "model")
    module = build(
        cfg_dict(cfg.task),
        "task",
        net=net,
        optimizer=optimizer,
        scheduler=scheduler,
        objective=cfg_dict(cfg.objective),
    )
    assert isinstance(module, BaseModule)
    return module


def load_weights(module: LightningModule, checkpoint: dict[str, Any], path: Path) -> None:
    """Put the weights of `checkpoint` into `module`.

    Raises:
        UserError: they are those of another model; names the first weight that differs.
    """
    have, want = checkpoint["state_dict"], module.state_dict()
    for name in [*want, *have]:
        if name not in have or name not in want or have[name].shape != want[name].shape:
            shapes = [list(state[name].shape) if name in state else "nothing" for state in (have, want)]
            raise UserError(f"{path}: is of another model ({name} is {shapes[0]}, the config wants {shapes[1]})")
    module.load_state_dict(have)


def cfg_dict(cfg: DictConfig) -> dict[str, Any]:
    """Plain values: below this, nothing sees a config object."""
    values = OmegaConf.to_container(cfg, resolve=False)  # resolved before, and a stranger's is to read nothing here
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
