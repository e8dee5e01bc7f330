"""Metrics of classifiers, computed exactly and at the end of a split, from the predictions of all its samples.

torchmetrics' metrics of classes build a tensor of batch × classes² in deterministic mode: one update with 300 classes
took 2.4 s and 700 MB. Here an update only stores the predictions, and all metrics but AUROC follow from one
confusion matrix. Everything is computed on the CPU from integers or in float64, so the results do not depend on the
device, the batches or the number of processes.

    N  samples          K  classes or labels
"""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from leyden.metrics.calibration import bins


class ClassMetrics(Metric):
    """Accuracy, and macro averages of precision, recall, F1 and AUROC (one class against the rest) of a split.

    Macro averages are over the classes that the split contains. AUROC is exact. It is left out if the split contains
    only one class, for which it is not defined.

    Args:
        num_classes: K.
    """

    probabilities: list[Tensor]
    predicted: list[Tensor]
    labels: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        for state in ("probabilities", "predicted", "labels"):
            self.add_state(state, [], dist_reduce_fx="cat")
        # Results of the last `compute`, over all processes.
        self.confusion: Tensor | None = None  # int64 (K, K), rows are the true classes
        self.absent: list[int] = []  # classes without a sample
        self.calibration_error = 0.0  # expected calibration error, see `leyden.metrics.calibration.Bins`
        self.areas = torch.empty(0)  # AUROC of each class, (K,)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch of logits, (B, K), and labels, int64 (B,)."""
        self.probabilities.append(logits.float().softmax(1))
        self.predicted.append(logits.argmax(1))
        self.labels.append(labels)

    def compute(self) -> dict[str, Tensor]:
        probabilities, predicted, labels = (
            dim_zero_cat(state).cpu() for state in (self.probabilities, self.predicted, self.labels)
        )
        self.confusion = confusion_matrix(predicted, labels, self.num_classes)
        present = self.confusion.sum(1) > 0
        self.absent = (~present).nonzero().flatten().tolist()
        self.calibration_error = bins(probabilities.amax(1), predicted == labels).error
        self.areas = class_auroc(probabilities, labels)  # NaN for absent classes
        metrics = {**from_confusion(self.confusion), "auroc": self.areas[present].mean()}
        return {name: value.float() for name, value in metrics.items() if not value.isnan()}


class BinaryAUROC(Metric):
    """Area under the ROC curve of a split with two classes; NaN if it contains only one."""

    scores: list[Tensor]
    positive: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for state in ("scores", "positive"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, positive: Tensor) -> None:
        """Add a batch: the score of each sample, (B,), and whether the sample is positive, bool (B,).

        A higher score means that the sample is more likely to be positive.
        """
        self.scores.append(scores)
        self.positive.append(positive)

    def compute(self) -> Tensor:
        scores, positive = dim_zero_cat(self.scores).cpu(), dim_zero_cat(self.positive).cpu()
        if positive.all() or not positive.any():
            return torch.tensor(torch.nan)
        return area(scores[positive], scores)


def confusion_matrix(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Count the samples of each true class (row) that are predicted as each class (column).

    Args:
        predicted, labels: int64 (N,)
        num_classes: K

    Returns:
        int64 (K, K)
    """
    return torch.bincount(labels * num_classes + predicted, minlength=num_classes**2).view(num_classes, num_classes)


def from_confusion(confusion: Tensor) -> dict[str, Tensor]:
    """Return accuracy, and precision, recall and F1 as means over the classes that have samples.

    Precision is 0 for a class that is never predicted.

    Args:
        confusion: int64 (K, K), rows are the true classes.

    Returns:
        acc, precision, recall and f1, float64 () each.
    """
    scores = per_class(confusion)
    present = confusion.sum(1) > 0
    accuracy = confusion.diag().double().sum() / confusion.sum(1).double().sum()
    return {"acc": accuracy, **{name: values[present].mean() for name, values in scores.items()}}


def per_class(confusion: Tensor) -> dict[str, Tensor]:
    """Return precision, recall and F1 of each class, float64 (K,) each; 0 where a class has no sample or prediction.

    Args:
        confusion: int64 (K, K), rows are the true classes.
    """
    correct, true, predicted = (counts.double() for counts in (confusion.diag(), confusion.sum(1), confusion.sum(0)))
    precision = correct / predicted.clamp(min=1)
    recall = correct / true.clamp(min=1)
    f1 = 2 * correct / (true + predicted).clamp(min=1)
    return {"precision": precision, "recall": recall, "f1": f1}


def class_auroc(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the area under the ROC curve of each class against the rest.

    Args:
        scores: (N, K), higher for a more likely class.
        labels: int64 (N,)

    Returns:
        float64 (K,); NaN for a class that has no sample or all of them.
    """
    by_class, counts = labels.argsort(stable=True), torch.bincount(labels, minlength=scores.shape[1])
    areas = torch.full((scores.shape[1],), torch.nan, dtype=torch.float64)
    for number, members in enumerate(torch.split(by_class, counts.tolist())):
        if 0 < len(members) < len(labels):
            column = scores[:, number].contiguous()
            areas[number] = area(column[members], column)
    return areas


def area(positive: Tensor, scores: Tensor) -> Tensor:
    """Return the area under a ROC curve: the fraction of pairs (positive, negative) in the right order.

    Ties count one half. Computed from ranks (Mann-Whitney U), in integers.

    Args:
        positive: (P,), scores of the positive samples, at least one.
        scores: (N,), scores of all samples, at least one of them negative.

    Returns:
        float64 ()
    """
    ranked = scores.sort().values
    below, up_to = (torch.searchsorted(ranked, positive, right=right) for right in (False, True))
    num_positive, num_negative = len(positive), len(scores) - len(positive)
    twice = (below + up_to).sum() - num_positive**2  # 2 U: pairs of two positive samples count once each
    return twice.double() / (2 * num_positive * num_negative)
