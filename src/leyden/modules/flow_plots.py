"""A plot of the attention of a diffusion transformer."""

import torch
from torch import Tensor

from leyden.modules import plots
from leyden.modules.paths import Path
from leyden.nets.dit import DiT

TIMES = (0.25, 0.5, 0.75, 0.95)


@torch.no_grad()
def attention(net: DiT, path: Path, noise: Tensor, images: Tensor, classes: Tensor) -> Tensor:
    """Return a grid, (C, height, width), 0 to 1: a row for each image, with a pair of pictures for each of `TIMES`.

    The first of a pair is the noisy image. The second one shows to which patches the patch in the centre attends, as a
    mean over heads and blocks; the brightest patch has the largest weight.

    Args:
        net: the transformer.
        path: from noise to images.
        noise: (B, C, H, W).
        images: (B, C, H, W), 0 to 1.
        classes: (B, K), 0 or 1.
    """
    rows, columns = net.tokens.grid
    centre, pictures = rows // 2 * columns + columns // 2, []
    for time in TIMES:
        times = noise.new_full((len(noise),), time)
        points = path.points(2 * images - 1, noise, times[:, None, None, None])
        weights = net.attention(points.to(classes.dtype), times.to(classes.dtype), classes)[:, :, :, centre]
        maps = weights.float().mean((0, 2))  # (layers, B, heads, T) → (B, T)
        maps = (maps / maps.amax(1, keepdim=True)).view(-1, 1, rows, columns)
        whole = maps.repeat_interleave(net.patch, 2).repeat_interleave(net.patch, 3)
        whole = whole[:, :, : images.shape[2], : images.shape[3]].expand_as(images)
        pictures += [((points + 1) / 2).clamp(0, 1).float(), whole]
    return plots.grid(torch.stack(pictures, 1).flatten(0, 1), len(pictures))
