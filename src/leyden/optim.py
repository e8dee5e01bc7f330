"""Schedules as functions of the share of training that is done, and the wiring of both to Lightning.

No schedule counts steps of its own: the total comes from the trainer, so that a run that is resumed with
more epochs stretches its schedule over them.
"""

import inspect
import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.nn import Parameter
from torch.optim import Adagrad, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

OptimizerFactory = partial[Optimizer]
SchedulerFactory = partial[LRScheduler]

FUSED_DEVICES = {"cpu", "cuda", "mps", "xpu"}
FUSED_ON_CPU_ONLY = {Adagrad}


def configure(
    parameters: Iterable[Parameter],
    optimizer: OptimizerFactory,
    scheduler: SchedulerFactory,
    trainer: Trainer,
    objective: dict[str, str],
) -> OptimizerLRSchedulerConfig:
    """What `LightningModule.configure_optimizers` returns.

    Args:
        parameters: to be trained.
        optimizer: called with the parameters.
        scheduler: called with the optimizer, and the number of steps or (plateau) the objective's mode.
        trainer: knows how many steps there will be.
        objective: metric and mode that a plateau is judged by.
    """
    parameters = list(parameters)
    opt = optimizer(parameters, **fused(optimizer, parameters[0].device.type, trainer))
    if counts_steps(scheduler):
        total_steps = max(1, int(trainer.estimated_stepping_batches))
        interval = "epoch" if scheduler.func is constant else "step"  # a step of one that does nothing takes 30 µs
        return {"optimizer": opt, "lr_scheduler": {"scheduler": scheduler(opt, total_steps), "interval": interval}}
    plateau = scheduler(opt, mode=objective["mode"])
    assert isinstance(plateau, ReduceLROnPlateau)
    return {"optimizer": opt, "lr_scheduler": {"scheduler": plateau, "monitor": objective["metric"]}}


def counts_steps(scheduler: SchedulerFactory) -> bool:
    """Whether `scheduler` is a function of the step, and not of a metric."""
    return "total_steps" in inspect.signature(scheduler).parameters


def fused(optimizer: OptimizerFactory, device: str, trainer: Trainer) -> dict[str, bool]:
    """``{"fused": True}`` where one kernel can do the whole step: a quarter less time per step of a dense net.

    Not with float16's loss scaling: a fused optimizer unscales by itself and forbids clipping the gradient.
    """
    known = "fused" in inspect.signature(optimizer).parameters and device in FUSED_DEVICES
    here = device == "cpu" or optimizer.func not in FUSED_ON_CPU_ONLY
    return {"fused": True} if known and here and trainer.precision != "16-mixed" else {}


def constant(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """The same learning rate throughout."""
    return LambdaLR(optimizer, lambda step: 1.0)


def cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.05, min_factor: float = 0.0) -> LRScheduler:
    """Linear warm-up, then half a cosine from 1 to `min_factor` times the learning rate (Loshchilov and Hutter, 2017).

    Args:
        warmup: share of the training, 0 to 1.
        min_factor: 0 to 1.

    Raises:
        ValueError: either is out of its range.
    """
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup: got {warmup}, must be at least 0 and below 1")
    if not 0 <= min_factor <= 1:
        raise ValueError(f"min_factor: got {min_factor}, must be between 0 and 1")
    warm_steps = warmup * total_steps

    def factor(step: int) -> float:
        if step < warm_steps:
            return (step + 1) / (warm_steps + 1)
        done = min(1.0, (step - warm_steps) / (total_steps - warm_steps))
        return min_factor + (1 - min_factor) * (1 + math.cos(math.pi * done)) / 2

    return LambdaLR(optimizer, factor)


def step(
    optimizer: Optimizer, total_steps: int, milestones: Sequence[float] = (0.5, 0.75), gamma: float = 0.1
) -> LRScheduler:
    """Times `gamma` at each milestone.

    Args:
        milestones: shares of the training, 0 to 1.

    Raises:
        ValueError: a milestone is out of its range.
    """
    if any(not 0 < milestone < 1 for milestone in milestones):
        raise ValueError(f"milestones: got {list(milestones)}, each must be between 0 and 1")
    return LambdaLR(optimizer, lambda step: gamma ** sum(step >= part * total_steps for part in milestones))


class OneCycle(OneCycleLR):
    """1cycle (Smith and Topin, 2018): the optimizer's learning rate is the highest point of the cycle.

    Momentum (or Adam's first beta), where there is any, goes the other way, 0.95 to 0.85 and back.
    Args as torch's `OneCycleLR`.

    Raises:
        ValueError: `pct_start` is not between 0 and 1.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        if not 0 < pct_start < 1:
            raise ValueError(f"pct_start: got {pct_start}, must be between 0 and 1")
        momenta = optimizer.defaults.get("momentum"), *optimizer.defaults.get("betas", ())
        super().__init__(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=max(total_steps, math.ceil(2 / pct_start)),  # torch divides by zero below two rising steps
            pct_start=pct_start,
            div_factor=div_factor,
            final_div_factor=final_div_factor,
            cycle_momentum=bool(momenta[0] or len(momenta) > 1),
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the step, but keep the length: the trainer's, which may be longer than when it was saved."""
        length = {"total_steps", "_schedule_phases"}
        super().load_state_dict({key: value for key, value in state_dict.items() if key not in length})
