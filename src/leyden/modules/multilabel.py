"""Several labels per sample, each there or not: binary cross-entropy around any net that gives logits."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics import Metric, MetricCollection
from torchmetrics.functional.classification import (
    multilabel_average_precision,
    multilabel_exact_match,
    multilabel_f1_score,
)
from torchmetrics.utilities import dim_zero_cat

from leyden.modules.supervised import SupervisedModule

Thresholds = Literal["fixed", "f1"]


class Multilabel(SupervisedModule):
    """Logs ``train/loss`` over the epoch, and loss, exact match, macro F1 and mAP of ``val`` and ``test``.

    Exact match is the share of samples with every label right, mAP the mean over the labels of average precision.
    The thresholds are in the report, and in the checkpoint.

    Args: as `SupervisedModule`, and

    num_classes: number of labels.
    thresholds: the probability from which a label counts as there: fixed, 0.5; or f1, for each label that with the
        best F1 on the validation set, found after each epoch (which flatters the figures of ``val``, not of ``test``).
    """

    thresholds: Tensor

    def __init__(self, num_classes: int, thresholds: Thresholds = "fixed", **kwargs: Any) -> None:
        super().__init__(metrics=MetricCollection({"labels": LabelMetrics()}), **kwargs)
        self.fixed = thresholds == "fixed"
        self.register_buffer("thresholds", torch.full((num_classes,), 0.5))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(outputs, targets.float())

    def predict(self, inputs: Tensor) -> Tensor:
        """Float (B, ...) → bool (B, num_classes), which labels are there."""
        logits: Tensor = self(inputs)
        return logits.sigmoid() >= self.thresholds

    def on_validation_epoch_end(self) -> None:
        labels = self.val_metrics["labels"]
        labels.thresholds = self.thresholds if self.fixed else None
        super().on_validation_epoch_end()
        self.thresholds.copy_(labels.thresholds)

    def on_test_epoch_end(self) -> None:
        self.test_metrics["labels"].thresholds = self.thresholds
        super().on_test_epoch_end()

    def report(self) -> dict[str, Any]:
        return {"thresholds": self.thresholds.tolist()}


class LabelMetrics(Metric):
    """Keeps the probabilities of a whole split, since thresholds and average precision need all of them at once.

    `thresholds`, (num_classes,), are to be set before `compute`; None has it choose and set them.
    """

    probabilities: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.thresholds: Tensor | None = None
        self.add_state("probabilities", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        self.probabilities.append(logits.sigmoid())
        self.targets.append(targets)

    def compute(self) -> dict[str, Tensor]:
        probabilities, targets = dim_zero_cat(self.probabilities), dim_zero_cat(self.targets)
        if self.thresholds is None:
            self.thresholds = best_thresholds(probabilities, targets)
        said, num = (probabilities >= self.thresholds).int(), targets.shape[1]
        return {
            "exact": multilabel_exact_match(said, targets, num),
            "f1": multilabel_f1_score(said, targets, num, average="macro"),
            "map": multilabel_average_precision(probabilities, targets, num, average="macro"),
        }


def best_thresholds(probabilities: Tensor, targets: Tensor) -> Tensor:
    """For each label the threshold with the highest F1; 0.5 for one that no sample has.

    Args:
        probabilities: float (N, num_classes).
        targets: int64 (N, num_classes), 0 or 1.

    Returns:
        (num_classes,), half-way between the least probable sample that counts and the next.
    """
    ranked, order = probabilities.sort(0, descending=True)
    hits = targets.gather(0, order).cumsum(0)  # of the samples down to each rank
    counted = torch.arange(1, len(ranked) + 1, device=ranked.device)[:, None]
    f1 = 2 * hits / (counted + hits[-1])
    below = torch.cat([ranked[1:], ranked[-1:]])
    f1[:-1][ranked[:-1] == below[:-1]] = 0  # of two alike, one cannot count without the other
    best = f1.argmax(0, keepdim=True)
    middle = (ranked.gather(0, best) + below.gather(0, best))[0] / 2
    return torch.where(hits[-1] > 0, middle, 0.5)
