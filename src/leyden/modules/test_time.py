"""Test-time augmentation: the outputs for an image are a mean over copies of it (arXiv 2404.00498)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

TestTime = Literal["none", "mirror", "mirror_shift"]


def mean_outputs(
    net: Callable[[Tensor], Tensor], images: Tensor, outputs: Tensor, kind: Literal["mirror", "mirror_shift"]
) -> Tensor:
    """Return the weighted mean of the outputs for changed images, in the shape of `outputs`.

    mirror: the image and its mirror image. mirror_shift: half of the weight is that of mirror; the other half is that
    of the same two images, moved by one pixel to the upper left and to the lower right. Borders are reflected.

    Args:
        net: images (B, C, H, W) → outputs (B, ...).
        images: (B, C, H, W), H and W at least 2 for mirror_shift.
        outputs: what `net` returns for `images`.
        kind: which changes.
    """
    wide = torch.promote_types(outputs.dtype, torch.float32)  # a sum of bfloat16 would lose digits
    mirrored = (outputs.to(wide) + net(images.flip(-1))) / 2
    if kind == "mirror":
        return mirrored
    height, width = images.shape[-2:]
    padded = pad(images, (1, 1, 1, 1), mode="reflect")
    moved = (padded[..., :height, :width], padded[..., 2:, 2:])
    return mirrored / 2 + sum(net(image).to(wide) + net(image.flip(-1)) for image in moved) / 8
