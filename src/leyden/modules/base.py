"""What all modules share: a net, its optimizer and schedule, and the figures of an epoch of training."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from leyden.errors import UserError
from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.modules.lean import LeanModule
from leyden.optim import OptimizerFactory, SchedulerFactory, configure


class BaseModule(LeanModule):
    """Logs the means over an epoch of what each training step adds to `train_means`, as ``train/<figure>``.

    Args:
        net: whose weights are trained.
        optimizer, scheduler: factories, see `leyden.optim.configure`.
        objective: ``{"metric": …, "mode": "min" or "max"}``, what a plateau schedule watches.
        figures: names of what `train_means` takes.
    """

    net: nn.Module

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        *figures: str,
    ) -> None:
        super().__init__()
        self.net, self.optimizer, self.scheduler, self.objective = net, optimizer, scheduler, objective
        self.train_means = EpochMeanAccumulator(*figures)

    @property
    def num_parameters(self) -> int:
        """Of the net."""
        return sum(weight.numel() for weight in self.net.parameters())

    def on_train_epoch_end(self) -> None:
        self.log_dict(self.train_means.means(self, "train/"), prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return configure(self.parameters(), self.optimizer, self.scheduler, self.trainer, self.objective)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_means"] = self.train_means.gather(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.train_means.scatter(self, checkpoint["train_means"])


class ImageModule(BaseModule, ABC):
    """A learner of images that works with pixels from 0 to 1 and shows pictures of what it does. Args: as `BaseModule`.

    It takes what the loaders give, normalised, and holds what takes that back, so that checkpoints have it too.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, net: nn.Module, *args: Any) -> None:
        super().__init__(net, *args)
        assert isinstance(net.in_shape, tuple)
        self.register_buffer("pixel_mean", torch.zeros(net.in_shape[0], 1, 1))
        self.register_buffer("pixel_std", torch.ones(net.in_shape[0], 1, 1))

    def setup(self, stage: str) -> None:
        if stage == "fit":
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            for buffer, values in ((self.pixel_mean, data.mean), (self.pixel_std, data.std)):
                buffer.copy_(torch.tensor(values).view(-1, 1, 1))

    def pixels(self, images: Tensor) -> Tensor:
        """Normalised (B, C, H, W) → 0 to 1."""
        return (images * self.pixel_std + self.pixel_mean).clamp(0, 1)

    @abstractmethod
    def pictures(self) -> dict[str, Tensor]:
        """Name → float (C, H, W), 0 to 1; asked for after a validation, on the first process."""


def wrong_net(net: nn.Module, task: str) -> UserError:
    """For a task that is told to train a net which has no such halves as it needs."""
    return UserError(f"task: a {type(net).__name__} cannot be trained as {task}; model={task} brings net and task")
