"""Losses of classifiers and of regressors.

A classifier has logits (B, K). Its targets are labels, int64 (B,), or class probabilities, float (B, K), whose rows
sum to 1.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, huber_loss, l1_loss, mse_loss, one_hot

from leyden.nets.ensemble import Ensemble

ClassLoss = Literal["cross_entropy", "focal", "mse"]
RegressionLoss = Literal["mse", "mae", "huber"]

REGRESSION_LOSSES: dict[RegressionLoss, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": mse_loss,
    "mae": l1_loss,
    "huber": huber_loss,
}


def class_loss(logits: Tensor, targets: Tensor, loss: ClassLoss, label_smoothing: float, gamma: float) -> Tensor:
    """Return the mean loss of a batch of classified samples, ().

    Args:
        logits: (B, K)
        targets: labels, int64 (B,), or class probabilities, float (B, K).
        loss: cross_entropy; focal (Lin et al., 2017), which down-weights well-classified samples by (1 - p)^gamma; or
            mse, the squared error between softmax probabilities and targets, summed over the classes (Brier, 1950).
        label_smoothing: fraction of the target that is spread evenly over all classes (Szegedy et al., 2016).
        gamma: exponent of the focal loss; 0 gives the cross-entropy.
    """
    if loss == "cross_entropy":
        return cross_entropy(logits, targets, label_smoothing=label_smoothing)
    return sample_losses(logits, targets, loss, label_smoothing, gamma).mean()


def sample_losses(logits: Tensor, targets: Tensor, loss: ClassLoss, label_smoothing: float, gamma: float) -> Tensor:
    """Return the loss of each sample, (B,). The arguments are those of `class_loss`, which returns the mean."""
    if loss == "cross_entropy":
        return cross_entropy(logits, targets, label_smoothing=label_smoothing, reduction="none")
    probabilities = class_probabilities(targets, logits.shape[1])
    probabilities = probabilities * (1 - label_smoothing) + label_smoothing / logits.shape[1]  # (B, K)
    if loss == "mse":
        return (logits.float().softmax(1) - probabilities).square().sum(1)
    log_p = logits.float().log_softmax(1)  # (B, K)
    weight = log_p.expm1().neg().clamp_min(1e-12) ** gamma  # (B, K); the clamp avoids an infinite slope at 0
    return -(probabilities * weight * log_p).sum(1)


def class_probabilities(targets: Tensor, num_classes: int) -> Tensor:
    """Labels (B,) → one-hot float (B, K); class probabilities (B, K) are returned unchanged."""
    return one_hot(targets, num_classes).float() if targets.dim() == 1 else targets


def regression_loss(outputs: Tensor, targets: Tensor, std: Tensor, loss: RegressionLoss) -> Tensor:
    """Return the mean loss of a batch of predicted numbers, (). Errors count in standard deviations of the targets.

    Args:
        outputs, targets: (B, num_outputs)
        std: standard deviation of each target, (num_outputs,).
        loss: mse (squared error), mae (absolute error) or huber (Huber, 1964: squared up to one standard deviation,
            absolute beyond).
    """
    return REGRESSION_LOSSES[loss](outputs / std, targets / std)


def l1_norm(net: nn.Module) -> Tensor:
    """Return the sum of the absolute weights, (). Weights with one axis (biases, scales of norms) are left out."""
    axes = 2 if isinstance(net, Ensemble) else 1  # of a bias; those of an ensemble are stacked
    absolute = [weight.abs().sum() for weight in net.parameters() if weight.dim() > axes]
    return sum(absolute[1:], absolute[0])
