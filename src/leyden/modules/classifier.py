"""Classification: one class per sample, with any net that returns logits."""

import math
from collections.abc import Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torchmetrics import MetricCollection

from leyden.data.datamodule import DataFacts
from leyden.data.loaders import Batch
from leyden.metrics.classification import ClassMetrics
from leyden.modules.losses import ClassLoss, class_loss, l1_norm
from leyden.modules.mixing import check_alpha, mix
from leyden.modules.predictions import Prediction, ranked
from leyden.modules.supervised import SupervisedModule
from leyden.optim import OptimizerFactory, SchedulerFactory


class Classifier(SupervisedModule):
    """Trains a classifier with one class per sample.

    Logs ``train/loss`` and ``train/acc``, and for ``val`` and ``test`` the loss, the accuracy, and macro averages of
    precision, recall, F1 and AUROC over the classes that the split contains. The report has the confusion matrix of
    the test set, whose rows are the true classes, and the classes that the test set lacks. Logged losses do not
    contain the `l1` penalty. For mixed samples, ``train/acc`` counts the class with the larger weight as correct.

    Args:
        net: float (B, ...) → logits (B, num_classes).
        optimizer, scheduler, objective: see `BaseModule`.
        num_classes: number of classes.
        loss: cross_entropy, focal or mse, see `leyden.modules.losses`.
        label_smoothing: fraction of the target that is spread evenly over all classes (Szegedy et al., 2016), at
            least 0 and below 1.
        gamma: exponent of the focal loss, at least 0.
        l1: penalty for each unit of absolute weight (Tibshirani, 1996), at least 0; biases and norms are left out.
        mixup, cutmix: parameter alpha of each method of mixing training samples, see `leyden.modules.mixing`. 0 turns
            the method off; other values must be between 0.01 and 1000.

    Raises:
        ValueError: a number is out of its range.
    """

    validation_metrics = ("loss", "acc", "precision", "recall", "f1", "auroc")

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
        if num_classes < 2:
            raise ValueError(f"num_classes: got {num_classes}, must be at least 2")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: got {label_smoothing}, must be at least 0 and below 1")
        for name, value in {"gamma": gamma, "l1": l1}.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: got {value}, must be at least 0")
        for name, alpha in {"mixup": mixup, "cutmix": cutmix}.items():
            check_alpha(name, alpha)
        metrics = MetricCollection({"classes": ClassMetrics(num_classes)})
        super().__init__(net, optimizer, scheduler, objective, metrics, ("loss", "acc"))
        self.num_classes, self.loss_name, self.gamma = num_classes, loss, gamma
        self.label_smoothing, self.l1, self.mixup, self.cutmix = label_smoothing, l1, mixup, cutmix
        self.class_names = [f"class {number}" for number in range(num_classes)]
        self.announced: set[str] = set()  # splits whose absent classes were printed

    def use_facts(self, facts: DataFacts) -> None:
        self.use_classes(facts.classes)

    def use_classes(self, classes: Sequence[str] | None) -> None:
        if classes is not None:
            self.class_names = list(classes)

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

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self._announce_absent(self.val_metrics, "validation")

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self._announce_absent(self.test_metrics, "test")

    def predictions(self, inputs: Tensor) -> list[Prediction]:
        ranks = [ranked(row, self.class_names) for row in self(inputs).float().softmax(1).tolist()]
        return [Prediction(*top[0], top) for top in ranks]

    def named_outputs(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"probabilities": self(inputs).softmax(1)}  # (B, K)

    def _announce_absent(self, metrics: MetricCollection, split: str) -> None:
        """Print the classes that a split does not contain, once per split."""
        absent = self._absent(class_metrics(metrics))
        if absent and split not in self.announced:
            self.announced.add(split)
            line = f"The {split} set has no samples of {', '.join(absent)}. Macro averages are without them."
            rank_zero_only(print)(line)

    def _absent(self, metrics: ClassMetrics) -> list[str]:
        return [self.class_names[number] for number in metrics.absent]

    def report(self) -> dict[str, Any]:
        tested = class_metrics(self.test_metrics)
        assert tested.confusion is not None
        return {"confusion": tested.confusion.tolist(), "absent_classes": self._absent(tested)}


def class_metrics(metrics: MetricCollection) -> ClassMetrics:
    """Return the only member of the collection."""
    classes = metrics["classes"]
    assert isinstance(classes, ClassMetrics)
    return classes


def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the accuracy, (); for class probabilities, (B, K), the most probable class counts as correct."""
    labels = targets if targets.dim() == 1 else targets.argmax(1)
    return (logits.argmax(1) == labels).float().mean()
