"""How good features are: nearest neighbours, a linear probe, and signs that they have collapsed to a point or a line.

N  samples with a known class (the bank)      B  samples of a batch      F  features      K  classes
"""

import warnings

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

NEIGHBOURS = 20  # as in solo-learn
TEMPERATURE = 0.07  # of the weights of the neighbours (Wu et al., 2018)
PROBE_STEPS = 300  # of L-BFGS


class Bank:
    """Features with known classes, with which others are compared.

    Args:
        features: (N, F)
        labels: int64 (N,)
        num_classes: K
    """

    def __init__(self, features: Tensor, labels: Tensor, num_classes: int) -> None:
        self.features, self.labels, self.num_classes = features, labels, num_classes
        self.directions = normalize(features, dim=1)
        self.probe = LinearProbe(features, labels)

    def neighbours(self, features: Tensor) -> Tensor:
        """Return the class of each sample by a vote of its nearest neighbours, int64 (B,): features (B, F).

        The 20 samples of the bank with the largest cosine similarity s vote with the weight exp(s / 0.07).
        """
        similarity = normalize(features, dim=1) @ self.directions.T  # (B, N)
        nearest, index = similarity.topk(min(NEIGHBOURS, len(self.labels)), dim=1)  # (B, 20)
        weights = ((nearest - nearest[:, :1]) / TEMPERATURE).exp()
        votes = one_hot(self.labels[index], self.num_classes) * weights[..., None]  # (B, 20, K)
        return votes.sum(1).argmax(1)


class LinearProbe:
    """Logistic regression on frozen features, fitted once and completely (not along with the training of the net).

    Features are standardised. The penalty of the weights is scikit-learn's default. Computed on the CPU in float64.

    Args:
        features: of training samples, (N, F).
        labels: int64 (N,), at least two classes.
    """

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        values = features.cpu().double()
        mean, std = values.mean(0), values.std(0, correction=0).clamp(min=1e-8)
        model = LogisticRegression(max_iter=PROBE_STEPS)
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # collapsed features
            model.fit(((values - mean) / std).numpy(), labels.cpu().numpy())
        weight, bias = (torch.from_numpy(np.asarray(part)) for part in (model.coef_, model.intercept_))
        if len(weight) == 1:  # of two classes, the model has the scores of the second one
            weight, bias = torch.cat((-weight, weight)), torch.cat((-bias, bias))
        self.classes = torch.from_numpy(model.classes_)
        self.weight, self.bias = weight / std, bias - weight @ (mean / std)

    def __call__(self, features: Tensor) -> Tensor:
        """Return the predicted class of each sample, int64 (B,), on the device of the features (B, F)."""
        weight, bias, classes = (
            part.to(features.device) for part in (self.weight.float(), self.bias.float(), self.classes)
        )
        return classes[(features @ weight.T + bias).argmax(1)]


def spread_and_rank(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return two indicators of collapse of features of length 1, from their mean, (F,), and covariance, (F, F).

    Returns:
        spread: root mean square distance of the features from their mean, 0 to 1; 0: all samples have the same ones.
        rank: effective number of dimensions that the features fill, 1 to F: the exponential of the entropy of the
            normalised eigenvalues of the covariance (Roy and Vetterli, 2007).
    """
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    shares = values / values.sum().clamp(min=1e-12)
    entropy = -(shares * shares.clamp(min=1e-12).log()).sum()
    return values.sum().sqrt(), entropy.exp()
