"""Classification: cross-entropy around any net that gives logits."""

from typing import Any

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import ConfusionMatrix, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from leyden.data.batches import Batch
from leyden.modules.lean import LeanModule
from leyden.modules.means import EpochMeans
from leyden.optim import OptimizerFactory, SchedulerFactory, configure


class Classifier(LeanModule):
    """One class per image.

    Logs ``train/loss`` and ``train/acc`` over the epoch, and loss, accuracy, macro precision, recall, F1 and
    AUROC of ``val`` and ``test``. The confusion matrix on test, rows the true classes, is in `confusion`.

    Args:
        net: float (B, C, H, W) → logits (B, num_classes).
        optimizer, scheduler: factories, see `leyden.optim.configure`.
        objective: ``{"metric": …, "mode": "min" or "max"}``, what a plateau schedule watches.
        num_classes: number of logits.
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al., 2016), 0 to 1.

    Raises:
        ValueError: `label_smoothing` is out of its range.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        num_classes: int,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: got {label_smoothing}, must be at least 0 and below 1")
        self.net, self.optimizer, self.scheduler, self.objective = net, optimizer, scheduler, objective
        self.label_smoothing = label_smoothing
        self.train_means = EpochMeans("loss", "acc")
        self.eval_means = EpochMeans("loss")
        self.val_metrics = evaluation_metrics(num_classes, "val/")
        self.test_metrics = evaluation_metrics(num_classes, "test/")
        self.confusion = ConfusionMatrix("multiclass", num_classes=num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised float (B, C, H, W) → logits (B, num_classes)."""
        logits: Tensor = self.net(images)
        return logits

    def step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean loss, (), and logits, (B, num_classes)."""
        images, labels = batch
        logits = self(images)
        return cross_entropy(logits, labels, label_smoothing=self.label_smoothing), logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, logits = self.step(batch)
        hits = (logits.argmax(1) == batch[1]).float().mean()
        self.train_means.add(len(batch[1]), loss, hits)
        return loss

    def on_train_epoch_end(self) -> None:
        self.log_dict(self.train_means.means(self, "train/"), prog_bar=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        logits = self._evaluate(batch, self.test_metrics)
        self.confusion.update(logits, batch[1])

    def _evaluate(self, batch: Batch, metrics: MetricCollection) -> Tensor:
        loss, logits = self.step(batch)
        metrics.update(logits, batch[1])
        self.eval_means.add(len(batch[1]), loss)
        return logits

    def on_validation_epoch_end(self) -> None:
        self._log(self.val_metrics, "val/")

    def on_test_epoch_end(self) -> None:
        self._log(self.test_metrics, "test/")
        self.confusion_counts = self.confusion.compute()
        self.confusion.reset()

    def _log(self, metrics: MetricCollection, prefix: str) -> None:
        for name, value in (self.eval_means.means(self, prefix) | metrics.compute()).items():
            self.log(name, value, prog_bar=name in ("val/loss", "val/acc"))
        metrics.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        return configure(self.parameters(), self.optimizer, self.scheduler, self.trainer, self.objective)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_means"] = self.train_means.gather(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.train_means.scatter(self, checkpoint["train_means"])


def evaluation_metrics(num_classes: int, prefix: str) -> MetricCollection:
    """Accuracy, and macro averages over the classes; AUROC is exact, over all thresholds."""
    macro: dict[str, Any] = {"num_classes": num_classes, "average": "macro", "validate_args": False}
    metrics: dict[str, Metric | MetricCollection] = {
        "acc": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
        "precision": MulticlassPrecision(**macro),
        "recall": MulticlassRecall(**macro),
        "f1": MulticlassF1Score(**macro),
        "auroc": MulticlassAUROC(**macro),
    }
    return MetricCollection(metrics, prefix=prefix)
