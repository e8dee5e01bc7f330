"""Plots of the validation set in TensorBoard: confusion matrix, confident errors, PR curves, best value so far."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from leyden.data.datamodule import InMemoryData
from leyden.data.images import denormalise
from leyden.metrics.classification import confusion_matrix
from leyden.modules.base import BaseModule
from leyden.modules.class_images import ConfidentErrors, confusion_plot, error_plot
from leyden.nets.ensemble import Ensemble
from leyden.records.loggers import TensorBoard, tensorboards
from leyden.training.callbacks import ResumePosition, better
from leyden.training.checkpoints import Checkpoints

MAX_CURVES = 20  # PR curves; with more classes there is one curve over all classes
MAX_CLASSES = 200  # of a confusion matrix


class ValidationPlots(Callback):
    """Draws the plots every few epochs and at the end of the training, see `leyden.records.loggers.TensorBoard`.

    The probabilities are collected on the device during the validation. With several processes, the plots show the
    validation samples of the first one.

    Args:
        data: the data; the images of errors are denormalised with its statistics.
        position: the callback that knows the step at which the metrics of an epoch are logged.
        checkpoints: the callback that knows the best value of the objective. It must come after this one.
    """

    def __init__(self, data: InMemoryData, position: ResumePosition, checkpoints: Checkpoints) -> None:
        self.data, self.position, self.checkpoints = data, position, checkpoints
        self.loggers: list[TensorBoard] = []
        self.every = 0  # epochs
        self.probabilities: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.errors = ConfidentErrors()
        self.shown = True  # whether the last validation was drawn

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.loggers = tensorboards(trainer.loggers)
        self.every = max((logger.plots_every_n_epochs for logger in self.loggers), default=0)

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.position.steps or not self.loggers:
            return
        assert isinstance(pl_module, BaseModule)
        layout = charts(pl_module)
        for logger in self.loggers:
            logger.log_layout(layout)
            if logger.graph:
                inputs, _ = next(iter(self.data.val_dataloader()))
                net = pl_module.net
                logger.log_net(net.single(0) if isinstance(net, Ensemble) else net, inputs[:1])

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.probabilities, self.targets, self.errors = [], [], ConfidentErrors()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not self.every or trainer.global_rank or not isinstance(outputs, Tensor):
            return
        assert isinstance(pl_module, BaseModule)
        inputs, targets = batch
        named = pl_module.named_outputs(outputs, inputs)
        if "probabilities" not in named:
            return
        probabilities = named["probabilities"].float()
        self.probabilities.append(probabilities)
        self.targets.append(targets)
        if targets.dim() == 1 and self.data.input_kind == "image":
            self.errors.add(inputs, probabilities, targets)

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or not self.loggers:
            return
        self._log_best(trainer)
        if not self.every:
            return
        self.shown = False
        if (trainer.current_epoch + 1) % self.every == 0:
            self._draw(pl_module)

    def _log_best(self, trainer: Trainer) -> None:
        """Log the best value of the objective so far. HPARAMS shows the last point of this curve."""
        metric, mode, best = self.checkpoints.metric, self.checkpoints.mode, self.checkpoints.best_score
        if metric not in trainer.callback_metrics:
            return  # `checkpoints` reports this error
        value = float(trainer.callback_metrics[metric])
        if self.checkpoints.best_epoch < 0 or better(value, best, mode):
            best = value
        for logger in self.loggers:
            logger.log_point({best_curve(metric): best}, self.position.steps - 1)

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.shown:
            self._draw(pl_module)

    def _draw(self, module: LightningModule) -> None:
        assert isinstance(module, BaseModule)
        step = self.position.steps - 1  # of the epoch's metrics, so that a resumed run replaces what it draws again
        for logger in self.loggers:
            if logger.histograms:
                logger.log_weights(module.net, step)
            if self.probabilities:
                self._draw_classes(logger, module, step)
        self.shown, self.probabilities, self.targets = True, [], []

    def _draw_classes(self, logger: TensorBoard, module: BaseModule, step: int) -> None:
        probabilities, targets = torch.cat(self.probabilities).cpu(), torch.cat(self.targets).cpu()
        names: Sequence[str] = module.class_names
        if targets.dim() == 1:
            if len(names) <= MAX_CLASSES:
                counts = confusion_matrix(probabilities.argmax(1), targets, len(names))
                logger.log_image("val/confusion", confusion_plot(counts, names), step)
            if self.errors.cut():
                logger.log_image("val/errors", self._error_image(names), step)
            targets = torch.nn.functional.one_hot(targets, len(names))
        if len(names) <= MAX_CURVES:
            for number, name in enumerate(names):
                logger.log_pr_curve(f"pr/{name}", targets[:, number], probabilities[:, number], step)
        else:
            logger.log_pr_curve("pr/all classes", targets.flatten(), probabilities.flatten(), step)

    def _error_image(self, names: Sequence[str]) -> Tensor:
        facts, errors = self.data.facts(), self.errors
        assert facts.mean is not None
        assert facts.std is not None
        captions = [
            (f"{names[predicted]} ({score:.0%})", f"true: {names[label]}")
            for predicted, score, label in zip(
                errors.predicted.tolist(), errors.scores.tolist(), errors.labels.tolist(), strict=True
            )
        ]
        return error_plot(denormalise(errors.images, facts.mean, facts.std), captions)


def charts(module: BaseModule) -> dict[str, list[str]]:
    """Return the charts of the layout: each metric that both splits have, the objective, and the learning rate."""
    both = [name for name in module.train_means.names if name in module.validation_metrics]
    found = {name: [f"train/{name}", f"val/{name}"] for name in both}
    objective = module.objective["metric"]
    found.setdefault(objective.partition("/")[2], []).extend(
        name for name in (objective, best_curve(objective)) if name not in found.get(objective.partition("/")[2], [])
    )
    return {**found, "learning rate": ["train/lr"]}


def best_curve(objective: str) -> str:
    """Return the name of the curve with the best value so far: ``val/acc`` → ``val/acc_best``."""
    return f"{objective}_best"
