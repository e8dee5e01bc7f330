"""Weight averaging for every task with automatic optimisation: ``averaging=ema`` or ``averaging=lookahead``.

Validations, and thus `best.ckpt`, use the averages. They are in the state of the callback in `last.ckpt`, whose weights
are those that are trained. Lightning's `WeightAveraging` does not fit: it replaces the weights in every checkpoint, and
its hooks end the fast loop.
"""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from leyden.config.instantiate import instantiate
from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.optim.averages import Average, NoAverage


class Averaging(Callback):
    """Averages the weights after each optimizer step, and puts the averages into the module for each validation.

    `RestoreTrained` puts the trained weights back.

    Args:
        rule: how the averages follow the weights.
    """

    def __init__(self, rule: Average) -> None:
        self.rule = rule
        self.num_steps = 0
        self.averages: dict[str, Tensor] = {}
        self.weights: list[Tensor] = []  # of the module, in the order of the averages
        self.trained: list[Tensor] = []  # copies, while the averages are in the module

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        averaged = averaged_tensors(pl_module)
        self.weights = list(averaged.values())
        source = self.averages or averaged  # those of the checkpoint, if the run resumes
        self.averages = {name: source[name].detach().to(weight).clone() for name, weight in averaged.items()}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self.num_steps += 1
            self.rule.update(list(self.averages.values()), self.weights, self.num_steps)

    @torch.no_grad()
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.trained = [weight.clone() for weight in self.weights]
        for weight, average in zip(self.weights, self.averages.values(), strict=True):
            weight.copy_(average)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the trained weights back into the module."""
        for weight, trained in zip(self.weights, self.trained, strict=True):
            weight.copy_(trained)
        self.trained = []

    def state_dict(self) -> dict[str, Any]:
        return {"averages": self.averages, "steps": self.num_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.averages, self.num_steps = state_dict["averages"], int(state_dict["steps"])


class RestoreTrained(Callback):
    """Puts the trained weights back after a validation. It comes after the callback that saves `best.ckpt`."""

    def __init__(self, averaging: Averaging) -> None:
        self.averaging = averaging

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.averaging.restore()


def averaged_tensors(module: LightningModule) -> dict[str, Tensor]:
    """Return the tensors to average by name: the weights of the net, its buffers, and other trained weights."""
    weights = {name: w for name, w in module.named_parameters() if name.startswith("net.") or w.requires_grad}
    return weights | {name: buffer for name, buffer in module.named_buffers() if name.startswith("net.")}


def averaging_callbacks(spec: Mapping[str, Any], module: BaseModule) -> tuple[list[Callback], list[Callback]]:
    """Return the callbacks for a section ``averaging``: those before and those after the checkpoints.

    Raises:
        UserError: a value is not allowed, or the module does not leave its steps to the Trainer.
    """
    rule = instantiate(spec, "averaging", (NoAverage, Average))
    if isinstance(rule, NoAverage):
        return [], []
    if not module.automatic_optimization:
        name = type(rule).__name__.lower()
        raise UserError(f"averaging: got {name}, but this model averages its weights itself; use task.ema")
    averaging = Averaging(rule)
    return [averaging], [RestoreTrained(averaging)]
