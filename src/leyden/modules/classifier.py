"""Classification: one class per sample, by any net that gives logits."""

import math
from typing import Any

from torch import Tensor
from torchmetrics import ConfusionMatrix, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from leyden.data.loaders import Batch
from leyden.modules.losses import Loss, class_loss, l1_norm
from leyden.modules.mixing import mix
from leyden.modules.supervised import SupervisedModule


class Classifier(SupervisedModule):
    """One class per sample.

    Logs ``train/loss`` and ``train/acc`` over the epoch, and loss, accuracy, macro precision, recall, F1 and
    AUROC of ``val`` and ``test``. The confusion matrix on test, rows the true classes, is in the report.
    The logged losses are without `l1`; where samples are mixed, ``train/acc`` counts the larger part's class.

    Args: as `SupervisedModule`, and

    num_classes: number of logits.
    loss: cross_entropy, focal or mse, see `leyden.modules.losses`.
    label_smoothing: share of the target spread evenly over all classes (Szegedy et al., 2016), 0 to 1.
    gamma: of the focal loss.
    l1: added to the loss for each unit of absolute weight, biases and norms aside (Tibshirani, 1996).
    mixup, cutmix: alpha of that way to mix training samples, see `leyden.modules.mixing`; 0 for none.

    Raises:
        ValueError: one of the numbers is out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        loss: Loss = "cross_entropy",
        label_smoothing: float = 0.0,
        gamma: float = 2.0,
        l1: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: got {label_smoothing}, must be at least 0 and below 1")
        for name, value in {"gamma": gamma, "l1": l1, "mixup": mixup, "cutmix": cutmix}.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: got {value}, must be at least 0")
        super().__init__(metrics=evaluation_metrics(num_classes), train_figures=("acc",), **kwargs)
        self.num_classes, self.kind, self.gamma = num_classes, loss, gamma
        self.label_smoothing, self.l1, self.mixup, self.cutmix = label_smoothing, l1, mixup, cutmix
        self.confusion = ConfusionMatrix("multiclass", num_classes=num_classes)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return class_loss(outputs, targets, self.kind, self.label_smoothing, self.gamma)

    def figures(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        labels = targets if targets.dim() == 1 else targets.argmax(1)
        return ((outputs.argmax(1) == labels).float().mean(),)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.mixup or self.cutmix:
            batch = mix(batch, self.num_classes, self.mixup, self.cutmix)
        loss = super().training_step(batch, batch_idx)
        return loss + self.l1 * l1_norm(self.net) if self.l1 else loss

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        logits = self.evaluate(batch, self.test_metrics)
        self.confusion.update(logits, batch[1])

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self.confusion_counts = self.confusion.compute()
        self.confusion.reset()

    def report(self) -> dict[str, Any]:
        return {"confusion": self.confusion_counts.tolist()}


def evaluation_metrics(num_classes: int) -> MetricCollection:
    """Accuracy, and macro averages over the classes; AUROC is exact, over all thresholds."""
    macro: dict[str, Any] = {"num_classes": num_classes, "average": "macro", "validate_args": False}
    metrics: dict[str, Metric | MetricCollection] = {
        "acc": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
        "precision": MulticlassPrecision(**macro),
        "recall": MulticlassRecall(**macro),
        "f1": MulticlassF1Score(**macro),
        "auroc": MulticlassAUROC(**macro),
    }
    return MetricCollection(metrics)
