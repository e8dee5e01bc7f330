"""Samples mixed in pairs, and their targets with them: mixup and CutMix, a whole batch at once on its device.

Each sample is mixed with the one before it, the first with the last: batches come in random order, so that is a pair
as random as any. The papers draw how much for each batch from Beta(alpha, alpha), and so do we, from torch's
generator on the CPU, which is seeded at each step.
"""

import math

import torch
from torch import Tensor
from torch.distributions import Beta

from leyden.data.loaders import Batch
from leyden.errors import UserError
from leyden.modules.losses import class_shares


def mix(batch: Batch, num_classes: int, mixup_alpha: float, cutmix_alpha: float) -> Batch:
    """A batch mixed one way or the other, at random where both have an alpha.

    Args:
        batch: float (B, …) and labels, int64 (B,).
        num_classes: K.
        mixup_alpha, cutmix_alpha: the larger, the nearer to halves; 0 for not this way.

    Returns:
        float (B, …) and shares of classes, float (B, K).
    """
    inputs, targets = batch[0], class_shares(batch[1], num_classes)
    use_cutmix = cutmix_alpha > 0 and (mixup_alpha == 0 or float(torch.rand(())) < 0.5)
    alpha = cutmix_alpha if use_cutmix else mixup_alpha
    share = float(Beta(alpha, alpha).sample())
    if use_cutmix:
        inputs, share = cutmix(inputs, share)
    else:
        inputs = blend(inputs, share)
    return inputs, blend(targets, share)


def blend(values: Tensor, share: float) -> Tensor:
    """`share` of each sample and the rest of the one before it: mixup (Zhang et al., 2018)."""
    return torch.lerp(values.roll(1, 0), values, share)


def cutmix(images: Tensor, share: float) -> tuple[Tensor, float]:
    """A rectangle of the image before pasted into each (Yun et al., 2019): images, and the share they keep.

    The rectangle is as large as `share` leaves, around a random place, and cut off at the borders.
    """
    if images.dim() < 4:
        shape = list(images.shape[1:])
        raise UserError(f"task.cutmix: takes images, and a sample here is {shape}; task.mixup takes any")
    height, width = images.shape[-2:]
    side = math.sqrt(1 - share)
    rows, columns = _span(height, side), _span(width, side)
    mixed = images.clone()
    mixed[..., rows, columns] = images.roll(1, 0)[..., rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - area / (height * width)


def _span(size: int, part: float) -> slice:
    """`part` of `size` pixels around a random one, as far as they are there."""
    middle, length = int(torch.randint(size, ())), round(part * size)
    start = middle - length // 2
    return slice(max(start, 0), min(start + length, size))
