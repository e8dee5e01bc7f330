"""A plot of which patches of an image a transformer combines, as a float image (3, H, W) from 0 to 1."""

import torch
from torch import Tensor

from leyden.modules import plots
from leyden.modules.titles import titled
from leyden.nets.transformer import Tokens, Transformer

NUM_ROWS = 6  # images
MAX_HEADS = 6  # that are shown
ORANGE = (1.0, 0.45, 0.0)
OPACITY = 0.85  # of the patch with the largest weight


def patch_attention(net: Transformer, inputs: Tensor, pixels: Tensor) -> Tensor:
    """Draw the attention of the last block: a row for each image, its columns are the mean and the single heads.

    The query is the class token. Without one, it is the mean over the queries of all patches.

    Args:
        net: a transformer on the patches of images.
        inputs: normalised images, (B, C, H, W); at most `NUM_ROWS` are shown.
        pixels: the same images, 0 to 1.
    """
    assert isinstance(net.tokens, Tokens)
    pixels = pixels[:NUM_ROWS].float()
    weights = net.attention(inputs[:NUM_ROWS])[-1].float()  # (B, heads, T, T)
    rows = weights.mean(2) if net.class_token is None else weights[:, :, 0, 1:]
    rows = torch.cat((rows.mean(1, keepdim=True), rows[:, :MAX_HEADS]), 1)  # (B, 1 + heads, patches)
    low, high = rows.amin(2, keepdim=True), rows.amax(2, keepdim=True)
    maps = patches_to_pixels((rows - low) / (high - low).clamp(min=1e-12), net.tokens, pixels.shape[2:])
    grey = pixels.mean(1, keepdim=True)[:, None].expand(-1, -1, 3, -1, -1)  # (B, 1, 3, H, W)
    columns = torch.cat((grey, overlay(grey, maps[:, :, None])), 1)  # (B, 2 + heads, 3, H, W)
    query = "mean over the queries of all patches" if net.class_token is None else "the query is the class token"
    title = [
        f"Attention of the last block, {query}",
        "A row for each validation image. In each picture, orange: the largest weight, no colour: the smallest one",
    ]
    heads = [f"head {number + 1}" for number in range(columns.shape[1] - 2)]
    return titled(plots.grid(columns.flatten(0, 1), columns.shape[1]), title, ["image", "mean", *heads])


def overlay(grey: Tensor, maps: Tensor) -> Tensor:
    """Colour grey images, (..., 3, H, W), orange where `maps`, (..., 1, H, W), is 1, and less where it is smaller."""
    opacity = OPACITY * maps
    return grey * (1 - opacity) + grey.new_tensor(ORANGE)[:, None, None] * opacity


def patches_to_pixels(weights: Tensor, tokens: Tokens, size: torch.Size) -> Tensor:
    """Return the weight of the patch of each pixel: weights (..., patches) → (..., H, W).

    Args:
        weights: (..., patches)
        tokens: divide images into patches.
        size: (H, W) of an image.
    """
    rows, columns = tokens.grid
    side = (size[0] + tokens.padding[3]) // rows
    grid = weights.reshape(*weights.shape[:-1], rows, columns)
    return grid.repeat_interleave(side, -2).repeat_interleave(side, -1)[..., : size[0], : size[1]]
