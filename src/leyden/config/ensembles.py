"""What can be trained as an ensemble, and what cannot."""

from collections.abc import Callable
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn, optim

from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.modules.classifier import Classifier
from leyden.modules.supervised import SupervisedModule
from leyden.nets.airbench import Airbench
from leyden.nets.pretrained import Pretrained
from leyden.nets.sequence_model import SequenceModel
from leyden.optim.member_rates import PROPORTIONAL
from leyden.seeding import derive

# Optimizers that treat each number of a weight by itself, so that stacked weights are trained like single ones.
ELEMENT_WISE = (
    optim.Adadelta, optim.Adagrad, optim.Adam, optim.Adamax, optim.AdamW, optim.ASGD, optim.NAdam, optim.RAdam,
    optim.RMSprop, optim.Rprop, optim.SGD,
)  # fmt: skip


def check_ensemble(cfg: DictConfig, module: BaseModule, optimizer: Any) -> None:
    """Raise UserError if the nets of an ensemble cannot be trained together as in separate runs.

    Args:
        cfg: the config, with ``ensemble`` above 1.
        module: the module of a single run.
        optimizer: class of the optimizer.
    """
    start, settings = f"ensemble: got {cfg.ensemble}, but", cfg.trainer
    if not isinstance(module, SupervisedModule):
        raise UserError(f"{start} {type(module).__name__} has no ensembles; use ensemble=1, or another model")
    if isinstance(module.net, SequenceModel | Pretrained | Airbench):
        name = type(module.net).__name__.lower()
        raise UserError(f"{start} model={name} has no ensembles; use ensemble=1, or another model")
    if isinstance(module, Classifier) and module.tta != "none":
        raise UserError(f"{start} task.tta={module.tta} needs a single net; use task.tta=none")
    if optimizer not in ELEMENT_WISE:
        raise UserError(
            f"{start} the optimizer {optimizer.__name__} would mix the members: it does not treat each number of a "
            "weight by itself; use another one, such as optimizer=adamw"
        )
    if cfg.ensemble_lr and optimizer not in PROPORTIONAL:
        raise UserError(
            f"ensemble_lr: the step of {optimizer.__name__} is not proportional to its learning rate; use another "
            "optimizer, such as optimizer=adamw"
        )
    if settings.gradient_clip_val and settings.gradient_clip_algorithm == "norm":
        raise UserError(
            f"{start} trainer.gradient_clip_val would limit the norm over all members; "
            "use trainer.gradient_clip_algorithm=value"
        )
    if settings.sync_batchnorm:
        raise UserError(f"{start} trainer.sync_batchnorm needs a single net; use trainer.sync_batchnorm=false")


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return the net that `build` makes, with the initial weights of a single run with this seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "init"))
        return build()
