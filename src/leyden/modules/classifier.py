"""Classification: cross-entropy around any net that gives logits."""

from typing import Any

from torch import Tensor
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
from leyden.modules.supervised import Supervised


class Classifier(Supervised):
    """One class per sample.

    Logs ``train/loss`` and ``train/acc`` over the epoch, and loss, accuracy, macro precision, recall, F1 and
    AUROC of ``val`` and ``test``. The confusion matrix on test, rows the true classes, is in the report.

    Args: as `Supervised`, and

    num_classes: number of logits.
    label_smoothing: share of the target spread evenly over all classes (Szegedy et al., 2016), 0 to 1.

    Raises:
        ValueError: `label_smoothing` is out of its range.
    """

    def __init__(self, num_classes: int, label_smoothing: float = 0.0, **kwargs: Any) -> None:
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: got {label_smoothing}, must be at least 0 and below 1")
        super().__init__(metrics=evaluation_metrics(num_classes), train_figures=("acc",), **kwargs)
        self.label_smoothing = label_smoothing
        self.confusion = ConfusionMatrix("multiclass", num_classes=num_classes)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)

    def figures(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        return ((outputs.argmax(1) == targets).float().mean(),)

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
