"""Metrics of several labels per sample, computed exactly and at the end of a split, on the CPU.

N  samples          K  labels
"""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from leyden.metrics.classification import area


class LabelMetrics(Metric):
    """Exact match, macro F1 and mAP of a whole split. The averages are over the labels that at least one sample has.

    Keeps all probabilities, since thresholds and average precision need all of them at once. Set `thresholds`,
    (num_classes,), before `compute`; with None, `compute` chooses the best ones and sets them.
    """

    probabilities: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.thresholds: Tensor | None = None
        # Results of the last `compute`, over all processes.
        self.absent: list[int] = []  # labels without a sample
        self.per_label: dict[str, Tensor] = {}  # see `label_scores`
        self.add_state("probabilities", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        self.probabilities.append(logits.sigmoid())
        self.targets.append(targets)

    def compute(self) -> dict[str, Tensor]:
        probabilities, targets = dim_zero_cat(self.probabilities).cpu(), dim_zero_cat(self.targets).cpu()
        if self.thresholds is None:
            self.thresholds = best_thresholds(probabilities, targets)
        predicted, members = probabilities >= self.thresholds.cpu(), targets > 0  # (N, K)
        self.per_label = label_scores(predicted, members, probabilities)
        present = self.per_label["support"] > 0
        self.absent = (~present).nonzero().flatten().tolist()
        f1, precision = self.per_label["f1"], self.per_label["average_precision"]
        exact = (predicted == members).all(1).double().mean()
        metrics = {"exact": exact, "f1": f1[present].mean(), "map": precision[present].mean()}
        return {name: value.float() for name, value in metrics.items() if not value.isnan()}


def label_scores(predicted: Tensor, members: Tensor, probabilities: Tensor) -> dict[str, Tensor]:
    """Return what is measured for each label.

    Args:
        predicted: which labels are predicted, bool (N, K).
        members: which labels each sample has, bool (N, K).
        probabilities: float (N, K)

    Returns:
        ``support``, the number of samples, int64 (K,); ``precision``, ``recall`` and ``f1``, float64 (K,), 0 where a
        label has no sample or prediction; ``auroc`` and ``average_precision``, float64 (K,), NaN where they are not
        defined.
    """
    hits, chosen, support = (values.sum(0).double() for values in (predicted & members, predicted, members))
    return {
        "support": support.long(),
        "precision": hits / chosen.clamp(min=1),
        "recall": hits / support.clamp(min=1),
        "f1": 2 * hits / (chosen + support).clamp(min=1),
        "auroc": label_auroc(probabilities, members),
        "average_precision": average_precision(probabilities, members.long()),
    }


def best_thresholds(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return the threshold with the highest F1 of each label; 0.5 for a label that no sample has.

    Args:
        probabilities: float (N, num_classes).
        targets: int64 (N, num_classes), 0 or 1.

    Returns:
        (num_classes,), the middle between the least probable sample above the threshold and the next one.
    """
    ranked, order = probabilities.sort(0, descending=True)
    hits = targets.gather(0, order).cumsum(0)  # true positives if all samples up to this rank are predicted
    predicted = torch.arange(1, len(ranked) + 1, device=ranked.device)[:, None]
    f1 = 2 * hits / (predicted + hits[-1])
    below = torch.cat([ranked[1:], ranked[-1:]])
    f1[:-1][ranked[:-1] == below[:-1]] = 0  # no threshold separates two equal probabilities
    best = f1.argmax(0, keepdim=True)
    middle = (ranked.gather(0, best) + below.gather(0, best))[0] / 2
    return torch.where(hits[-1] > 0, middle, 0.5)


def label_auroc(scores: Tensor, members: Tensor) -> Tensor:
    """Return the area under the ROC curve of each label.

    Args:
        scores: (N, K), higher for a more likely label.
        members: whether each sample has each label, bool (N, K).

    Returns:
        float64 (K,); NaN for a label that no sample has, or all of them.
    """
    areas = torch.full((scores.shape[1],), torch.nan, dtype=torch.float64)
    counts = members.sum(0)
    for number in ((counts > 0) & (counts < len(members))).nonzero().flatten().tolist():
        column = scores[:, number].contiguous()
        areas[number] = area(column[members[:, number]], column)
    return areas


def average_precision(scores: Tensor, targets: Tensor) -> Tensor:
    """Return the average precision of each label: the precision at each threshold, weighted by the gain in recall.

    Args:
        scores: float (N, K)
        targets: int64 (N, K), 0 or 1.

    Returns:
        float64 (K,); NaN for a label that no sample has.
    """
    ranked, order = scores.sort(0, descending=True)
    hits = targets.gather(0, order).cumsum(0).double()  # true positives if all samples up to this rank are predicted
    precision = hits / torch.arange(1, len(scores) + 1, dtype=torch.float64)[:, None]
    values = torch.full((scores.shape[1],), torch.nan, dtype=torch.float64)
    for label in range(scores.shape[1]):
        last = torch.ones(len(scores), dtype=torch.bool)
        last[:-1] = ranked[1:, label] != ranked[:-1, label]  # the last rank of each threshold
        at, recalled = precision[last, label], hits[last, label]
        if recalled[-1] > 0:
            gain = torch.diff(recalled, prepend=recalled.new_zeros(1)) / recalled[-1]
            values[label] = (at * gain).sum()
    return values
