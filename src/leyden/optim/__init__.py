"""Learning rate schedules as functions of the completed fraction of the training, and their connection to Lightning.

The total number of steps comes from the Trainer. If a run is resumed with more epochs, its schedule is stretched.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import Adagrad, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from leyden.optim.muon import Muon, groups

OptimizerFactory = partial[Optimizer]
SchedulerFactory = partial[LRScheduler]

FUSED_DEVICES = {"cpu", "cuda", "mps", "xpu"}
FUSED_ON_CPU_ONLY = {Adagrad}
IMPLEMENTATIONS = {"fused", "foreach", "differentiable"}  # arguments of an optimizer that choose how it computes a step

HIGH_MOMENTUM, LOW_MOMENTUM = 0.95, 0.85  # of 1cycle


def configure(
    net: nn.Module,
    optimizer: OptimizerFactory,
    scheduler: SchedulerFactory,
    trainer: Trainer,
    objective: dict[str, str],
) -> OptimizerLRSchedulerConfig:
    """Return what `LightningModule.configure_optimizers` returns.

    Args:
        net: its trainable weights are trained.
        optimizer: called with the weights; `Muon` with their `groups`.
        scheduler: called with the optimizer, and with the number of steps or (plateau) the mode of the objective.
        trainer: gives the number of steps.
        objective: metric and mode that a plateau schedule watches.
    """
    device = next(weight.device for weight in net.parameters() if weight.requires_grad)
    opt = optimizer(trained_weights(net, optimizer), **fused(optimizer, device.type, trainer))
    if counts_steps(scheduler):
        total_steps = max(1, int(trainer.estimated_stepping_batches))
        interval = "epoch" if scheduler.func is constant else "step"  # saves 30 µs per step
        return {"optimizer": opt, "lr_scheduler": {"scheduler": scheduler(opt, total_steps), "interval": interval}}
    plateau = scheduler(opt, mode=objective["mode"])
    assert isinstance(plateau, ReduceLROnPlateau)
    return {
        "optimizer": opt,
        "lr_scheduler": {
            "scheduler": plateau,
            "monitor": objective["metric"],
            "frequency": trainer.check_val_every_n_epoch or 1,  # the objective is new only after a validation
            "strict": False,  # trainer.max_steps can end a run before its first validation
        },
    }


def trained_weights(net: nn.Module, optimizer: OptimizerFactory) -> list[Any]:
    """Return the trainable weights of `net` as `optimizer` takes them: `Muon` in groups, others as a list."""
    if optimizer.func is Muon:
        return groups(net)
    return [weight for weight in net.parameters() if weight.requires_grad]


def counts_steps(scheduler: SchedulerFactory) -> bool:
    """Return whether `scheduler` is a function of the step, not of a metric."""
    return "total_steps" in inspect.signature(scheduler).parameters


def fused(optimizer: OptimizerFactory, device: str, trainer: Trainer) -> dict[str, bool]:
    """Return ``{"fused": True}`` if one kernel can do the whole step, which takes a quarter less time for a dense net.

    The user's own choice of an implementation is respected. With float16's loss scaling, a fused optimizer unscales the
    gradients itself and does not allow clipping, so it is not used.
    """
    if IMPLEMENTATIONS & optimizer.keywords.keys():
        return {}
    known = "fused" in inspect.signature(optimizer).parameters and device in FUSED_DEVICES
    available = device == "cpu" or optimizer.func not in FUSED_ON_CPU_ONLY
    return {"fused": True} if known and available and trainer.precision != "16-mixed" else {}


def constant(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """Keep the learning rate constant."""
    return LambdaLR(optimizer, lambda step: 1.0)


def cosine(optimizer: Optimizer, total_steps: int, warmup: float, min_factor: float) -> LRScheduler:
    """Linear warm-up, then a half cosine from 1 to `min_factor` times the learning rate (Loshchilov and Hutter, 2017).

    Args:
        optimizer: its learning rate is the highest one.
        total_steps: number of steps of the training.
        warmup: fraction of the training, at least 0 and below 1.
        min_factor: 0 to 1.

    Raises:
        ValueError: `warmup` or `min_factor` is out of its range.
    """
    return warmed_up(optimizer, total_steps, warmup, min_factor, lambda done: (1 + math.cos(math.pi * done)) / 2)


def linear(optimizer: Optimizer, total_steps: int, warmup: float, min_factor: float) -> LRScheduler:
    """Linear warm-up, then a straight line from 1 to `min_factor` times the learning rate.

    The arguments and errors are those of `cosine`.
    """
    return warmed_up(optimizer, total_steps, warmup, min_factor, lambda done: 1 - done)


def warmed_up(
    optimizer: Optimizer, total_steps: int, warmup: float, min_factor: float, shape: Callable[[float], float]
) -> LRScheduler:
    """Linear warm-up, then `shape`, a function from the fraction of the rest that is done to a factor from 1 to 0."""
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup: got {warmup}, must be at least 0 and below 1")
    if not 0 <= min_factor <= 1:
        raise ValueError(f"min_factor: got {min_factor}, must be between 0 and 1")
    warm_steps = warmup * total_steps

    def factor(step: int) -> float:
        if step < warm_steps:
            return (step + 1) / (warm_steps + 1)
        done = min(1.0, (step - warm_steps) / (total_steps - warm_steps))
        return min_factor + (1 - min_factor) * shape(done)

    return LambdaLR(optimizer, factor)


def step(optimizer: Optimizer, total_steps: int, milestones: Sequence[float], gamma: float) -> LRScheduler:
    """Multiply the learning rate by `gamma` at each milestone.

    Args:
        optimizer: its learning rate is the first one.
        total_steps: number of steps of the training.
        milestones: fractions of the training, each between 0 and 1.
        gamma: factor, at least 0.

    Raises:
        ValueError: a milestone or `gamma` is out of its range.
    """
    if not 0 <= gamma < math.inf:
        raise ValueError(f"gamma: got {gamma}, must be at least 0")
    if any(not 0 < milestone < 1 for milestone in milestones):
        raise ValueError(f"milestones: got {list(milestones)}, each must be between 0 and 1")
    return LambdaLR(optimizer, lambda step: gamma ** sum(step >= fraction * total_steps for fraction in milestones))


class OneCycle(LRScheduler):
    """1cycle (Smith and Topin, 2018): the learning rate rises to that of the optimizer, then falls to almost zero.

    Momentum, or the first beta of Adam, moves the other way, from 0.95 to 0.85 and back; if it is 0, it stays 0.
    Both follow half cosines. The values are those of `torch.optim.lr_scheduler.OneCycleLR`, which cannot be stretched
    over more steps when a run is resumed.

    Args:
        optimizer: its learning rate is the highest one of the cycle.
        total_steps: number of steps of the training.
        pct_start: fraction of the training in which the learning rate rises, between 0 and 1.
        div_factor: the first learning rate is the highest one divided by this; at least 1.
        final_div_factor: the last learning rate is the first one divided by this; at least 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, optimizer: Optimizer, total_steps: int, pct_start: float, div_factor: float, final_div_factor: float
    ) -> None:
        if not 0 < pct_start < 1:
            raise ValueError(f"pct_start: got {pct_start}, must be between 0 and 1")
        for name, factor in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
            if not 1 <= factor < math.inf:
                raise ValueError(f"{name}: got {factor}, must be at least 1")
        self.total_steps = max(total_steps, math.ceil(2 / pct_start))  # at least two steps up
        self.pct_start, self.div_factor, self.final_div_factor = pct_start, div_factor, final_div_factor
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.moved = [momentum_key(group) for group in optimizer.param_groups]
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        """Return the learning rate of each group at this step, and set its momentum."""
        momentum = self._at_step(HIGH_MOMENTUM, LOW_MOMENTUM, HIGH_MOMENTUM)
        rates = []
        for group, peak, moved in zip(self.optimizer.param_groups, self.peaks, self.moved, strict=True):
            first = peak / self.div_factor
            rates.append(self._at_step(first, peak, first / self.final_div_factor))
            if moved == "betas":
                group["betas"] = (momentum, *group["betas"][1:])
            elif moved:
                group["momentum"] = momentum
        return rates

    def _at_step(self, first: float, middle: float, last: float) -> float:
        """Return the value at this step: a half cosine from `first` to `middle`, then one to `last`."""
        step, top = min(self.last_epoch, self.total_steps), float(self.pct_start * self.total_steps) - 1
        if step <= top:
            return half_cosine(first, middle, step / top)
        return half_cosine(middle, last, (step - top) / (self.total_steps - 1 - top))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the step. The length is that of this training, which may be longer than the one that was saved.

        Checkpoints of Leyden 0.1 hold the state of torch's OneCycleLR, whose other entries do not exist here.
        """
        restored = self.state_dict().keys() - {"total_steps", "base_lrs", "moved"}
        super().load_state_dict({key: value for key, value in state_dict.items() if key in restored})


def momentum_key(group: Mapping[str, Any]) -> str:
    """Return the key of a group of an optimizer that holds its momentum; an empty text if it has none."""
    if "betas" in group:
        return "betas"
    return "momentum" if group.get("momentum") else ""


def half_cosine(start: float, end: float, done: float) -> float:
    """Return the value at the fraction `done` of a half cosine from `start` to `end`."""
    return end + (start - end) / 2.0 * (math.cos(math.pi * done) + 1)


class Plateau(ReduceLROnPlateau):
    """Multiply the learning rate by `factor` if the objective has not improved for `patience` validations.

    There is one validation per epoch, unless ``trainer.check_val_every_n_epoch`` is larger.

    Args:
        optimizer: its learning rate is the first one.
        mode: min or max, whether the best value of the objective is its smallest or its largest.
        factor: at least 0 and below 1.
        patience: number of validations, at least 0.

    Raises:
        ValueError: `factor` or `patience` is out of its range.
    """

    def __init__(
        self, optimizer: Optimizer, mode: Literal["min", "max"] = "min", *, factor: float, patience: int
    ) -> None:
        if not 0 <= factor < 1:
            raise ValueError(f"factor: got {factor}, must be at least 0 and below 1")
        if patience < 0:
            raise ValueError(f"patience: got {patience}, must be at least 0")
        super().__init__(optimizer, mode, factor=factor, patience=patience)
