"""A plot of the attention of a diffusion transformer."""

import torch
from torch import Tensor

from leyden.modules import plots
from leyden.modules.patch_attention import patches_to_pixels
from leyden.modules.paths import Path
from leyden.modules.titles import titled
from leyden.nets.dit import DiT

TIMES = (0.25, 0.5, 0.75, 0.95)
TITLE = (
    "Attention of the patch in the centre, mean over heads and blocks; a row for each sample",
    "At each time t (0: noise, 1: image): the noisy image, and the weights of its patches; the largest is white",
)


@torch.no_grad()
def attention(net: DiT, path: Path, noise: Tensor, images: Tensor, classes: Tensor) -> Tensor:
    """Return a plot, (3, height, width), 0 to 1: a row for each image, with a pair of pictures for each of `TIMES`.

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
        whole = patches_to_pixels(maps / maps.amax(1, keepdim=True), net.tokens, images.shape[2:])
        pictures += [((points + 1) / 2).clamp(0, 1).float(), whole[:, None].expand_as(images)]
    labels = [label for time in TIMES for label in (f"t = {time}", "weights")]
    return titled(plots.grid(torch.stack(pictures, 1).flatten(0, 1), len(pictures)), TITLE, labels)
