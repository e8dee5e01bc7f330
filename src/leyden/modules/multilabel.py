"""Multi-label classification: any number of labels per sample, trained with binary cross-entropy."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics import MetricCollection

from leyden.data.datamodule import DataFacts
from leyden.data.loaders import Batch
from leyden.metrics.label_metrics import LabelMetrics
from leyden.modules.predictions import Prediction, ranked
from leyden.modules.supervised import SupervisedModule
from leyden.nets.ensemble import Combine, mean_label_probabilities
from leyden.optim import OptimizerFactory, SchedulerFactory

Thresholds = Literal["fixed", "f1"]


class Multilabel(SupervisedModule):
    """Trains a classifier with any number of labels per sample.

    Logs ``train/loss``, and for ``val`` and ``test`` the loss, exact match, macro F1 and mAP. Exact match is the
    fraction of samples with all labels correct. mAP is the mean over the labels of the average precision. Labels that
    no sample of the split has are left out of both means. The report names those of the test set, and has the scores of
    each label, see `leyden.metrics.label_metrics.label_scores`. The thresholds are in the report and in the checkpoint.

    Args:
        net: float (B, ...) → logits (B, num_classes).
        optimizer, scheduler, objective: see `BaseModule`.
        num_classes: number of labels.
        thresholds: the probability from which on a label is predicted. fixed: 0.5. f1: the threshold with the best F1
            of each label on the validation set, computed after each epoch; it makes the metrics of ``val``
            optimistic, but not those of ``test``.
    """

    target_kind = "labels"
    validation_metrics = ("loss", "exact", "f1", "map")

    thresholds: Tensor

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        num_classes: int,
        thresholds: Thresholds,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes: got {num_classes}, must be at least 1")
        super().__init__(net, optimizer, scheduler, objective, MetricCollection({"labels": LabelMetrics()}))
        self.fixed = thresholds == "fixed"
        self.class_names = [f"label {number}" for number in range(num_classes)]
        self.register_buffer("thresholds", torch.full((num_classes,), 0.5))

    def use_facts(self, facts: DataFacts) -> None:
        self.use_classes(facts.classes)

    def use_classes(self, classes: Sequence[str] | None) -> None:
        if classes is not None:
            self.class_names = list(classes)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss over samples and labels, (), for targets int64 (B, num_classes), 0 or 1."""
        return binary_cross_entropy_with_logits(logits, targets.float())

    def named_outputs(self, outputs: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """Return the probability of each label, and whether it reaches the label's threshold, (B, num_classes) each."""
        probabilities = outputs.sigmoid()
        return {"probabilities": probabilities, "labels": probabilities >= self.thresholds}

    def predictions(self, named: Mapping[str, Tensor]) -> list[Prediction]:
        """Return the predicted labels of each sample."""
        rows = zip(named["labels"].tolist(), named["probabilities"].float().tolist(), strict=True)
        return [Prediction(self._names(labels), top=ranked(values, self.class_names)) for labels, values in rows]

    def combiner(self) -> Combine:
        return mean_label_probabilities

    def labels_of(self, targets: Tensor) -> list[str]:
        return [", ".join(self._names(row)) for row in targets.tolist()]

    def _names(self, row: Sequence[int]) -> list[str]:
        """Return the names of the labels that are true, or 1, in a row."""
        return [name for name, has_label in zip(self.class_names, row, strict=True) if has_label]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, targets = batch
        loss = self.loss(self(inputs), targets)
        self.train_means.add(len(targets), loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, targets = batch
        logits: Tensor = self(inputs)
        self.eval_means.add(len(targets), self.loss(logits, targets))
        self.val_metrics.update(logits, targets)
        return logits  # callbacks draw plots from it

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        inputs, targets = batch
        logits = self(inputs)
        self.eval_means.add(len(targets), self.loss(logits, targets))
        self.test_metrics.update(logits, targets)

    def on_validation_epoch_end(self) -> None:
        labels = self.val_metrics["labels"]
        labels.thresholds = self.thresholds if self.fixed else None
        super().on_validation_epoch_end()
        self.thresholds.copy_(labels.thresholds)

    def on_test_epoch_end(self) -> None:
        self.test_metrics["labels"].thresholds = self.thresholds
        super().on_test_epoch_end()

    def report(self) -> dict[str, Any]:
        labels = self.test_metrics["labels"]
        assert isinstance(labels, LabelMetrics)
        absent = [self.class_names[number] for number in labels.absent]
        scores = {name: values.tolist() for name, values in labels.per_label.items()}
        return {"thresholds": self.thresholds.tolist(), "absent_classes": absent, "per_class": scores}
