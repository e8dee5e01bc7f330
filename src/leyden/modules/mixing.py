"""Mixup and CutMix: training samples are mixed in pairs, and their targets with them, a whole batch at once.

Each sample is mixed with the one before it, and the first with the last. Batches are in random order, so this is a
random pair. As in the papers, the amount is drawn for each batch from Beta(alpha, alpha). It comes from torch's
generator on the CPU, which is seeded at each step.

`torchvision.transforms.v2` has `MixUp` and `CutMix`, which take images only. This file also mixes features and series,
and it fixes the order of the random numbers: a run resumed after an update of torchvision draws the same ones.
"""

import math

import torch
from torch import Tensor
from torch.distributions import Beta

from leyden.data.loaders import Batch
from leyden.errors import UserError
from leyden.modules.losses import class_probabilities

LEAST_ALPHA, LARGEST_ALPHA = 0.01, 1000.0


def mix(batch: Batch, num_classes: int, mixup_alpha: float, cutmix_alpha: float) -> Batch:
    """Mix a batch by mixup or by CutMix; if both have an alpha, one of them is chosen at random.

    Args:
        batch: inputs, float (B, ...), and labels, int64 (B,).
        num_classes: K.
        mixup_alpha, cutmix_alpha: larger values give weights nearer to one half; 0 turns this method off.

    Returns:
        Inputs, float (B, ...), and class probabilities, float (B, K).
    """
    inputs, targets = batch[0], class_probabilities(batch[1], num_classes)
    use_cutmix = cutmix_alpha > 0 and (mixup_alpha == 0 or float(torch.rand(())) < 0.5)
    alpha = cutmix_alpha if use_cutmix else mixup_alpha
    weight = float(Beta(alpha, alpha).sample())
    if use_cutmix:
        inputs, weight = cutmix(inputs, weight)
    else:
        inputs = blend(inputs, weight)
    return inputs, blend(targets, weight)


def check_alpha(name: str, alpha: float) -> None:
    """Raise ValueError unless `alpha` is 0 or in a range in which torch can draw from the Beta distribution."""
    if alpha and not LEAST_ALPHA <= alpha <= LARGEST_ALPHA:
        raise ValueError(f"{name}: got {alpha}, must be 0, or between {LEAST_ALPHA} and {LARGEST_ALPHA}")


def blend(values: Tensor, weight: float) -> Tensor:
    """Return `weight` times each sample plus ``1 - weight`` times the one before it: mixup (Zhang et al., 2018)."""
    return torch.lerp(values.roll(1, 0), values, weight)


def cutmix(images: Tensor, weight: float) -> tuple[Tensor, float]:
    """Paste a rectangle of the previous image into each image (Yun et al., 2019).

    The rectangle covers the fraction ``1 - weight`` of the image. Its centre is random, and it is
    cut off at the borders.

    Returns:
        The images, and the fraction of its own pixels that each image keeps.
    """
    if images.dim() < 4:
        shape = list(images.shape[1:])
        raise UserError(f"task.cutmix: needs images, but the samples have the shape {shape}; task.mixup takes any")
    height, width = images.shape[-2:]
    side = math.sqrt(1 - weight)
    rows, columns = _span(height, side), _span(width, side)
    mixed = images.clone()
    mixed[..., rows, columns] = images.roll(1, 0)[..., rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - area / (height * width)


def _span(size: int, fraction: float) -> slice:
    """Return a slice that covers `fraction` of `size` pixels around a random centre, cut off at the borders."""
    middle, length = int(torch.randint(size, ())), round(fraction * size)
    start = middle - length // 2
    return slice(max(start, 0), min(start + length, size))
