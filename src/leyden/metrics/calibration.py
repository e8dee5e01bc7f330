"""Calibration: does a prediction with a probability of 80% come true in 80% of the cases?

N  samples          K  classes          M  bins
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

NUM_BINS = 15
LOWEST, HIGHEST = 0.01, 100.0  # temperatures
STEPS = 60  # of the search; the last interval has the relative width 1e-11


@dataclass(frozen=True, eq=False)
class Bins:
    """Predictions grouped by their confidence into M intervals of equal width; interval m is (m / M, (m + 1) / M].

    Args:
        counts: number of predictions, int64 (M,).
        confidence: mean confidence, float64 (M,), 0 in an empty interval.
        accuracy: fraction of correct predictions, float64 (M,), 0 in an empty interval.
    """

    counts: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def error(self) -> float:
        """The expected calibration error (Naeini et al., 2015): mean of |accuracy - confidence| over predictions."""
        gaps = (self.accuracy - self.confidence).abs() * self.counts
        return float(gaps.sum() / self.counts.sum())


def bins(confidence: Tensor, correct: Tensor, num_bins: int = NUM_BINS) -> Bins:
    """Group predictions by their confidence.

    Args:
        confidence: probability of each prediction, float (N,), 0 to 1; N is at least 1.
        correct: whether each prediction is correct, bool (N,).
        num_bins: M.
    """
    confidence = confidence.double()
    index = ((confidence * num_bins).ceil().long() - 1).clamp(0, num_bins - 1)
    counts = torch.bincount(index, minlength=num_bins)
    sums = (torch.bincount(index, values.double(), num_bins) for values in (confidence, correct))
    means = (total / counts.clamp(min=1) for total in sums)
    return Bins(counts, *means)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature with the smallest cross-entropy of ``logits / temperature`` (Guo et al., 2017).

    A temperature above 1 makes a model less confident, one below 1 makes it more confident. The predicted classes
    do not change. The search is on the logarithm of the temperature, in which the cross-entropy has one minimum.

    Args:
        logits: (N, K), of samples that the model was not trained on.
        labels: int64 (N,)

    Returns:
        0.01 to 100. If all predictions are correct, the smallest value is the best one.
    """
    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return float(cross_entropy(logits / math.exp(log_temperature), labels))

    low, high, ratio = math.log(LOWEST), math.log(HIGHEST), (math.sqrt(5) - 1) / 2
    for _ in range(STEPS):  # golden-section search
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return math.exp((low + high) / 2)
