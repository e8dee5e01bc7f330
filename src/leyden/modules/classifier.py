"""Classification: one class per sample, with any net that returns logits."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torchmetrics import MetricCollection

from leyden.data.datamodule import DataFacts
from leyden.data.loaders import Batch
from leyden.errors import UserError
from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.metrics.classification import ClassMetrics
from leyden.modules.losses import ClassLoss, class_loss, class_probabilities, l1_norm, sample_losses
from leyden.modules.mixing import check_alpha, mix
from leyden.modules.predictions import Prediction, ranked
from leyden.modules.supervised import SupervisedModule
from leyden.modules.test_time import TestTime, mean_outputs
from leyden.nets.ensemble import Combine, mean_probabilities
from leyden.optim import OptimizerFactory, SchedulerFactory


class Classifier(SupervisedModule):
    """Trains a classifier with one class per sample.

    Logs ``train/loss`` and ``train/acc``, and for ``val`` and ``test`` the loss, the accuracy, and macro averages of
    precision, recall, F1 and AUROC over the classes that the split contains. The report has the confusion matrix of
    the test set, whose rows are the true classes, the AUROC of each class, and the classes that the test set lacks.
    Logged losses do not contain the `l1` penalty. For mixed samples, ``train/acc`` counts the class with the larger
    weight as correct.

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
        tta: none, or the test-time augmentation with which a second accuracy, ``acc_tta``, is computed, see
            `leyden.modules.test_time`; images only.
        class_weights: none, or balanced: in the training, the loss of a sample is multiplied by N / (K n), where N is
            the number of training samples, K that of the classes that they show, and n that of its own class. So all
            classes have the same weight. Losses of validation and test are not weighted.

    Raises:
        ValueError: a number is out of its range.
    """

    class_weights: Tensor

    target_kind = "class"
    validation_metrics: tuple[str, ...] = ("loss", "acc", "precision", "recall", "f1", "auroc")

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
        tta: TestTime,
        class_weights: Literal["none", "balanced"],
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
        self.tta, self.tta_means = tta, EpochMeanAccumulator("acc_tta")
        if tta != "none":
            self.validation_metrics = (*self.validation_metrics, "acc_tta")
        self.is_weighted = class_weights == "balanced"
        self.register_buffer("class_weights", torch.ones(num_classes), persistent=False)  # `use_facts` computes it
        self.class_names = [f"class {number}" for number in range(num_classes)]

    def use_facts(self, facts: DataFacts) -> None:
        self.use_classes(facts.classes)
        if self.is_weighted:
            if facts.class_counts is None:
                raise UserError("task.class_weights: got balanced, but this data set does not count its classes")
            self.class_weights.copy_(balanced_weights(torch.tensor(facts.class_counts)))

    def use_classes(self, classes: Sequence[str] | None) -> None:
        if classes is not None:
            self.class_names = list(classes)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch, (), without the `l1` penalty."""
        return class_loss(logits, targets, self.loss_name, self.label_smoothing, self.gamma)

    def weighted_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of the weighted losses of a batch, ()."""
        losses = sample_losses(logits, targets, self.loss_name, self.label_smoothing, self.gamma)
        fractions = class_probabilities(targets, self.num_classes)  # (B, K); mixed samples have two classes
        return (losses * (fractions.to(self.class_weights.dtype) @ self.class_weights)).mean()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.mixup or self.cutmix:
            batch = mix(batch, self.num_classes, self.mixup, self.cutmix)
        inputs, targets = batch
        logits = self(inputs)  # (B, K)
        loss = self.weighted_loss(logits, targets) if self.is_weighted else self.loss(logits, targets)
        self.train_means.add(len(targets), loss, accuracy(logits, targets))
        return loss + self.l1 * l1_norm(self.net) if self.l1 else loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, labels = batch
        logits: Tensor = self(inputs)
        self.eval_means.add(len(labels), self.loss(logits, labels))
        self.val_metrics.update(logits, labels)
        self._add_tta(inputs, logits, labels)
        return logits  # callbacks draw plots from it

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        inputs, labels = batch
        logits = self(inputs)
        self.eval_means.add(len(labels), self.loss(logits, labels))
        self.test_metrics.update(logits, labels)
        self._add_tta(inputs, logits, labels)

    def _add_tta(self, inputs: Tensor, logits: Tensor, labels: Tensor) -> None:
        if self.tta != "none":
            logits = mean_outputs(self.net, inputs, logits, self.tta)
            self.tta_means.add(len(labels), accuracy(logits, labels))

    def compute_metrics(self, metrics: MetricCollection, prefix: str) -> dict[str, Tensor]:
        found = super().compute_metrics(metrics, prefix)
        return found | self.tta_means.means(self, prefix) if self.tta != "none" else found

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self._announce_absent(self.val_metrics, "validation")

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self._announce_absent(self.test_metrics, "test")

    def named_outputs(self, outputs: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        return {"probabilities": outputs.float().softmax(1)}  # (B, K)

    def predictions(self, named: Mapping[str, Tensor]) -> list[Prediction]:
        ranks = [ranked(row, self.class_names) for row in named["probabilities"].tolist()]
        return [Prediction(*top[0], top) for top in ranks]

    def combiner(self) -> Combine:
        return mean_probabilities

    def ensemble_metrics(self, split: str) -> dict[str, Tensor]:
        """Return the expected calibration error, see `leyden.metrics.calibration.Bins`."""
        metrics = class_metrics(self.val_metrics if split == "val" else self.test_metrics)
        return {f"{split}/ece": torch.tensor(metrics.calibration_error)}

    def labels_of(self, targets: Tensor) -> list[str]:
        return [self.class_names[number] for number in targets.tolist()]

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
        per_class = {"auroc": tested.areas.tolist()}  # the others follow from the confusion matrix
        return {"confusion": tested.confusion.tolist(), "absent_classes": self._absent(tested), "per_class": per_class}


def balanced_weights(counts: Tensor) -> Tensor:
    """Return the weight of each class, (K,), from its number of samples, int64 (K,); 0 for a class without samples."""
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)


def class_metrics(metrics: MetricCollection) -> ClassMetrics:
    """Return the only member of the collection."""
    classes = metrics["classes"]
    assert isinstance(classes, ClassMetrics)
    return classes


def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the accuracy, (); for class probabilities, (B, K), the most probable class counts as correct."""
    labels = targets if targets.dim() == 1 else targets.argmax(1)
    return (logits.argmax(1) == labels).float().mean()
