"""Losses of classes: of logits (B, K) against labels, int64 (B,), or shares of classes, float (B, K), rows sum to 1."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

Loss = Literal["cross_entropy", "focal", "mse"]


def class_loss(logits: Tensor, targets: Tensor, loss: Loss, label_smoothing: float, gamma: float) -> Tensor:
    """Mean over the batch, ().

    Args:
        loss: cross_entropy; focal (Lin et al., 2017), which takes interest away from classes that are as good as
            certain; or mse, squared error summed over classes, of softmax against targets (Brier, 1950). The old texts
            have it with a sigmoid for each class; the softmax lets any net be trained with it and read as before.
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al., 2016).
        gamma: of focal: how much the interest is taken away; 0 is cross-entropy.
    """
    if loss == "cross_entropy":
        return cross_entropy(logits, targets, label_smoothing=label_smoothing)
    shares = class_shares(targets, logits.shape[1])
    shares = shares * (1 - label_smoothing) + label_smoothing / logits.shape[1]  # (B, K)
    if loss == "mse":
        return (logits.float().softmax(1) - shares).square().sum(1).mean()
    log_probs = logits.float().log_softmax(1)  # (B, K)
    interest = log_probs.expm1().neg().clamp_min(1e-12) ** gamma  # (B, K); a root has no slope at 0
    return -(shares * interest * log_probs).sum(1).mean()


def class_shares(targets: Tensor, num_classes: int) -> Tensor:
    """Labels (B,) one-hot, or shares as they are: float (B, K)."""
    return one_hot(targets, num_classes).float() if targets.dim() == 1 else targets


def l1_norm(net: nn.Module) -> Tensor:
    """Sum of absolute weights, (), without those of one axis: biases and what norms scale by."""
    absolute = [weight.abs().sum() for weight in net.parameters() if weight.dim() > 1]
    return sum(absolute[1:], absolute[0])
