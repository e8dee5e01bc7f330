"""The members of an ensemble, each as the module of a single run: they have metrics of their own.

An ensemble is a module whose net is a `leyden.nets.ensemble.Ensemble`. It trains all members, and its outputs outside
of the training are the combined ones. Its `members` are modules of the same class; their nets are the single members.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from leyden.modules.base import BaseModule
from leyden.nets.ensemble import Ensemble


class MemberNet(nn.Module):
    """One net of an ensemble: (B, ...) → (B, O). It has no weights of its own."""

    def __init__(self, ensemble: Ensemble, number: int) -> None:
        super().__init__()
        self.owner = (ensemble,)  # in a tuple, so that the weights are registered only once
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        return self.owner[0].member(self.number, x)


class MemberMetrics(Callback):
    """Evaluates each member on the batches of a validation or test, in the way in which a single run is evaluated."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for member in _members(trainer, pl_module):
            member.on_validation_epoch_start()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for member in _members(trainer, pl_module):
            member.on_test_epoch_start()

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any) -> None:
        _, batch, batch_idx, *_ = arguments
        with trainer.precision_plugin.val_step_context():
            for member in _members(trainer, pl_module):
                member.validation_step(batch, batch_idx)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any) -> None:
        _, batch, batch_idx, *_ = arguments
        with trainer.precision_plugin.test_step_context():
            for member in _members(trainer, pl_module):
                member.test_step(batch, batch_idx)

    # Lightning calls these before those of the module, which logs what the members have computed.
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for member in _members(trainer, pl_module):
            member.on_validation_epoch_end()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for member in _members(trainer, pl_module):
            member.on_test_epoch_end()


def _members(trainer: Trainer, module: LightningModule) -> list[BaseModule]:
    assert isinstance(module, BaseModule)
    members = [member for member in module.members if isinstance(member, BaseModule)]
    for member in members:
        member.trainer = trainer
    return members


def summary(combined: Mapping[str, Tensor], members: Sequence[Mapping[str, float]]) -> dict[str, Tensor]:
    """Return what an ensemble logs for a split.

    Args:
        combined: the metrics of the combined outputs by name, such as ``val/acc``.
        members: those of each member.

    Returns:
        ``val/acc``: the mean over the members; ``val/acc_std``: their sample standard deviation; ``val/ensemble_acc``:
        that of the combined outputs. Mean and deviation are left out for a metric that a member lacks.
    """
    values: dict[str, Tensor] = {}
    for name in members[0]:
        if all(name in member for member in members):
            column = torch.tensor([member[name] for member in members], dtype=torch.float64)
            values |= {name: column.mean(), f"{name}_std": column.std()}
    return values | {ensemble_metric(name): value for name, value in combined.items()}


def ensemble_metric(name: str) -> str:
    """Return the name of the metric of combined outputs: ``val/acc`` → ``val/ensemble_acc``."""
    split, _, metric = name.rpartition("/")
    return f"{split}/ensemble_{metric}" if split else f"ensemble_{metric}"


def member_state(state: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """Return the state dict of the single net `number` from that of an ensemble."""
    own, stacked = f"members.{number}.", "net.stacked."
    found = {f"net.{name.removeprefix(stacked)}": value[number] for name, value in state.items() if stacked in name}
    return found | {name.removeprefix(own): value for name, value in state.items() if name.startswith(own)}
