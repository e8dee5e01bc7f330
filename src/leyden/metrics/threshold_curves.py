"""ROC and precision-recall curves: what a threshold on the scores of one class gives, for every threshold.

N  samples          T  different scores
"""

import torch
from torch import Tensor


def roc_curve(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Return the false and the true positive rate for each threshold, from (0, 0) to (1, 1).

    Args:
        scores: (N,), higher for a sample that is more likely to be positive.
        positive: bool (N,), at least one sample of each kind.

    Returns:
        False positive rate and true positive rate, float64 (T + 1,) each.
    """
    hits, predicted = _hits(scores, positive)
    zero = torch.zeros(1, dtype=torch.float64)
    misses = predicted - hits
    return torch.cat([zero, misses / misses[-1]]), torch.cat([zero, hits / hits[-1]])


def precision_recall_curve(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Return recall and precision for each threshold, from the highest threshold to the lowest.

    Args:
        scores: (N,), higher for a sample that is more likely to be positive.
        positive: bool (N,), at least one of them true.

    Returns:
        Recall and precision, float64 (T,) each.
    """
    hits, predicted = _hits(scores, positive)
    return hits / hits[-1], hits / predicted


def _hits(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Return the number of true positives and of predicted samples at each threshold, float64 (T,) each."""
    ranked, order = scores.sort(descending=True, stable=True)
    last = torch.ones(len(ranked), dtype=torch.bool)
    last[:-1] = ranked[1:] != ranked[:-1]  # the last rank of each threshold
    hits = positive[order].cumsum(0)[last].double()
    return hits, last.nonzero().flatten().double() + 1
