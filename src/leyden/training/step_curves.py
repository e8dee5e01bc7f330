"""Training loss and learning rate within the epochs, for TensorBoard."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from leyden.modules.base import BaseModule
from leyden.records.loggers import tensorboards
from leyden.training.callbacks import ResumePosition


class StepCurves(Callback):
    """Shows ``train/loss_step`` and ``train/lr`` in TensorBoard every `interval` steps, and at least once per epoch.

    The loss is the mean over the samples since the last point. It is the difference of two sums that the module keeps
    for its epoch means, so a step does no additional work. The sums are read from the device every 50 steps anyway.
    The state is in each checkpoint, so the curves of a resumed run equal those of an uninterrupted one.

    Args:
        position: the callback that counts the steps. It must come before this one.
    """

    def __init__(self, position: ResumePosition) -> None:
        self.position = position
        self.interval = 0  # of the TensorBoard of the run; 0: there is none
        self.steps = 0  # number of steps at the last point
        self.epoch = -1  # of the last point
        self.point: dict[str, float] = {}  # the last point
        self.before: list[float] = []  # the module's sums at the last point

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.interval = max((logger.every_n_steps for logger in tensorboards(trainer.loggers)), default=0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # TensorBoard hides what was logged from this step on. A checkpoint contains a point of its own last step.
        if self.steps and self.steps - 1 >= self.position.first_step:
            self._write(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.interval and self.position.steps - self.steps >= self.interval:
            assert isinstance(pl_module, BaseModule)
            self._add(trainer, pl_module, pl_module.train_means.totals(pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.interval:
            return
        assert isinstance(pl_module, BaseModule)
        totals = pl_module.train_means.totals(pl_module)
        if self.epoch != trainer.current_epoch:
            self._add(trainer, pl_module, totals)
        # The module starts the next epoch with sums of zero. The samples since the last point belong to the next one.
        self.before = (self._before(totals) - totals).tolist()

    def _add(self, trainer: Trainer, module: BaseModule, totals: Tensor) -> None:
        window = totals - self._before(totals)
        *means, _ = (window / window[-1]).tolist()
        losses = {name: mean for name, mean in zip(module.train_means.names, means, strict=True) if name == "loss"}
        self.point = {
            **{f"train/{name}_step": mean for name, mean in losses.items()},
            "train/lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
        }
        self.steps, self.epoch, self.before = self.position.steps, trainer.current_epoch, totals.tolist()
        self._write(trainer)

    def _before(self, totals: Tensor) -> Tensor:
        return torch.tensor(self.before, dtype=totals.dtype) if self.before else torch.zeros_like(totals)

    def _write(self, trainer: Trainer) -> None:
        for logger in tensorboards(trainer.loggers):
            logger.log_point(self.point, self.steps - 1)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger in tensorboards(trainer.loggers):
            logger.flush()  # a run that resumes from this checkpoint does not write these points again

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "epoch": self.epoch, "point": self.point, "before": self.before}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps, self.epoch = int(state_dict["steps"]), int(state_dict["epoch"])
        self.point, self.before = dict(state_dict["point"]), list(state_dict["before"])
