"""Classification: one class per sample, with any net that returns logits."""

import math
from typing import Any

from torch import Tensor, nn
from torchmetrics import ConfusionMatrix, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from leyden.data.loaders import Batch
from leyden.modules.losses import ClassLoss, class_loss, l1_norm
from leyden.modules.mixing import mix
from leyden.modules.supervised import SupervisedModule
from leyden.optim import OptimizerFactory, SchedulerFactory


class Classifier(SupervisedModule):
    """Trains a classifier with one class per sample.

    Logs ``train/loss`` and ``train/acc``, and for ``val`` and ``test`` the loss, the accuracy, and macro averages of
    precision, recall, F1 and AUROC. The report has the confusion matrix of the test set; its rows are the true
    classes. Logged losses do not contain the `l1` penalty. For mixed samples, ``train/acc`` counts the class with
    the larger weight as correct.

    Args:
        net: float (B, ...) → logits (B, num_classes).
        optimizer, scheduler, objective: see `BaseModule`.
        num_classes: number of classes.
        loss: cross_entropy, focal or mse, see `leyden.modules.losses`.
        label_smoothing: fraction of the target that is spread evenly over all classes (Szegedy et al., 2016), at
            least 0 and below 1.
        gamma: exponent of the focal loss, at least 0.
        l1: penalty for each unit of absolute weight (Tibshirani, 1996), at least 0; biases and norms are left out.
        mixup, cutmix: alpha of this way of mixing training samples, see `leyden.modules.mixing`; 0 turns it off.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        num_classes: int,
        loss: ClassLoss,
        label_smoothing: float,
        gamma: float,
        l1: float,
        mixup: float,
        cutmix: float,
    ) -> None:
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: got {label_smoothing}, must be at least 0 and below 1")
        for name, value in {"gamma": gamma, "l1": l1, "mixup": mixup, "cutmix": cutmix}.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: got {value}, must be at least 0")
        super().__init__(net, optimizer, scheduler, objective, evaluation_metrics(num_classes), ("loss", "acc"))
        self.num_classes, self.loss_name, self.gamma = num_classes, loss, gamma
        self.label_smoothing, self.l1, self.mixup, self.cutmix = label_smoothing, l1, mixup, cutmix
        self.confusion = ConfusionMatrix("multiclass", num_classes=num_classes)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch, (), without the `l1` penalty."""
        return class_loss(logits, targets, self.loss_name, self.label_smoothing, self.gamma)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.mixup or self.cutmix:
            batch = mix(batch, self.num_classes, self.mixup, self.cutmix)
        inputs, targets = batch
        logits = self(inputs)  # (B, K)
        loss = self.loss(logits, targets)
        self.train_means.add(len(targets), loss, accuracy(logits, targets))
        return loss + self.l1 * l1_norm(self.net) if self.l1 else loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        inputs, labels = batch
        logits = self(inputs)
        self.eval_means.add(len(labels), self.loss(logits, labels))
        self.val_metrics.update(logits, labels)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        inputs, labels = batch
        logits = self(inputs)
        self.eval_means.add(len(labels), self.loss(logits, labels))
        self.test_metrics.update(logits, labels)
        self.confusion.update(logits, labels)

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self.confusion_counts = self.confusion.compute()
        self.confusion.reset()

    def report(self) -> dict[str, Any]:
        return {"confusion": self.confusion_counts.tolist()}


def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the accuracy, (); for class probabilities, (B, K), the most probable class counts as correct."""
    labels = targets if targets.dim() == 1 else targets.argmax(1)
    return (logits.argmax(1) == labels).float().mean()


def evaluation_metrics(num_classes: int) -> MetricCollection:
    """Return accuracy, and macro averages over the classes. AUROC is exact: it uses all thresholds."""
    macro: dict[str, Any] = {"num_classes": num_classes, "average": "macro", "validate_args": False}
    metrics: dict[str, Metric | MetricCollection] = {
        "acc": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
        "precision": MulticlassPrecision(**macro),
        "recall": MulticlassRecall(**macro),
        "f1": MulticlassF1Score(**macro),
        "auroc": MulticlassAUROC(**macro),
    }
    return MetricCollection(metrics)
