"""U-Net (Ronneberger et al., 2015) with residual blocks, for flow matching and diffusion (Ho et al., 2020).

The image is halved between levels on the way down, and doubled on the way up, where each level also gets what it had on
the way down. Every residual block is told the time and the classes: they scale and shift its channels (Dhariwal and
Nichol, 2021). Attention is used on the smallest level only.

Differences to Dhariwal and Nichol: it is much smaller, there is one skip connection per level instead of one per block,
and images of any size are possible: what is too large after doubling is cut off.

    B  batch      C  channels      H, W  height and width      D  width of the embedding of time and classes
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from torch import Tensor, cat, nn
from torch.nn.functional import silu

from leyden.nets.conditional import Condition, ConditionalNet
from leyden.nets.layers import check_sizes
from leyden.nets.transformer import Attention

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)

GROUPS = 8  # of channels in a group norm, if their number can be divided by it


class UNet(ConditionalNet):
    """U-Net: noisy images (B, C, H, W), times (B,) and classes (B, K) → (B, C, H, W). See `ConditionalNet`.

    Args:
        in_shape: (C, H, W) of an image.
        num_classes: K.
        widths: number of channels of each level; each level but the first has half the height and width.
        depth: number of residual blocks of each level on the way down, and again on the way up.
        num_heads: attention heads on the smallest level. 0: no attention.
        dropout: probability of zeroing a value in the middle of a block.

    Raises:
        ValueError: samples are not images, or a size is out of its range.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        widths: Sequence[int],
        depth: int,
        num_heads: int,
        dropout: float,
    ) -> None:
        super().__init__(in_shape, num_classes)
        check(in_shape, widths, depth, num_heads, dropout)
        dim = 4 * widths[0]
        self.condition = Condition(num_classes, dim)
        self.stem = nn.Conv2d(in_shape[0], widths[0], 3, padding=1)
        self.down = nn.ModuleList(Level(width, width, depth, dim, dropout) for width in widths[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(one, other, 3, stride=2, padding=1) for one, other in pairwise(widths))
        self.middle = Level(widths[-1], widths[-1], 2 * depth, dim, dropout)
        self.attention = SelfAttention(widths[-1], num_heads) if num_heads else nn.Identity()
        self.grow = nn.ModuleList(nn.Conv2d(other, one, 3, padding=1) for one, other in pairwise(widths))
        self.up = nn.ModuleList(Level(2 * width, width, depth, dim, dropout) for width in widths[:-1])
        self.norm = group_norm(widths[0])
        self.head = zero(nn.Conv2d(widths[0], in_shape[0], 3, padding=1))

    def forward(self, x: Tensor, times: Tensor, classes: Tensor) -> Tensor:
        condition = silu(self.condition(times, classes))  # (B, D)
        x, skips = self.stem(x), []
        for level, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(level(x, condition))  # (B, width of the level, H, W)
            x = shrink(skips[-1])  # (B, width of the next level, H / 2, W / 2)
        x = self.attention(self.middle(x, condition))
        for level, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            skip = skips.pop()
            x = level(cat((grow(doubled(x, skip.shape[2:])), skip), 1), condition)
        outputs: Tensor = self.head(silu(self.norm(x)))
        return outputs


class Level(nn.Module):
    """Residual blocks on images of one size: (B, before, H, W) and a condition (B, D) → (B, after, H, W)."""

    def __init__(self, before: int, after: int, depth: int, dim: int, dropout: float) -> None:
        super().__init__()
        widths = [before, *[after] * depth]
        self.blocks = nn.ModuleList(ResidualBlock(one, other, dim, dropout) for one, other in pairwise(widths))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, condition)
        return x


class ResidualBlock(nn.Module):
    """Two convolutions with a residual connection; the condition scales and shifts the channels between them.

    The second convolution is zero at first, so that the block begins as the identity.
    """

    def __init__(self, before: int, after: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm_before, self.norm_between = group_norm(before), group_norm(after)
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = zero(nn.Conv2d(after, after, 3, padding=1))
        self.scale_and_shift = nn.Linear(dim, 2 * after)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift(condition)[:, :, None, None].chunk(2, 1)  # (B, after, 1, 1) each
        out = self.norm_between(self.first(silu(self.norm_before(x))))
        out = self.second(self.dropout(silu(out * (1 + scale) + shift)))
        total: Tensor = self.shortcut(x) + out
        return total


class SelfAttention(nn.Module):
    """Attention of each pixel to all pixels, with a residual connection: (B, C, H, W) → (B, C, H, W)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm, self.attention = group_norm(width), Attention(width, num_heads, dropout=0.0)
        zero(self.attention.out)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, H · W, C)
        attended: Tensor = self.attention(tokens)  # (B, H · W, C)
        return x + attended.transpose(1, 2).reshape(x.shape)


def doubled(x: Tensor, size: Sequence[int]) -> Tensor:
    """Repeat each pixel twice in both directions, and cut off what is more than `size`: (B, C, h, w) → (B, C, H, W).

    `interpolate` does the same, but its gradient is not deterministic on GPUs.
    """
    twice = x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).flatten(4, 5).flatten(2, 3)  # (B, C, 2 h, 2 w)
    return twice[:, :, : size[0], : size[1]]


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a group norm (Wu and He, 2018) with `GROUPS` channels in a group if possible."""
    return nn.GroupNorm(channels // math.gcd(GROUPS, channels), channels)


def zero(layer: Layer) -> Layer:
    """Set the weights and the bias of a layer to 0, and return it."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def check(in_shape: Sequence[int], widths: Sequence[int], depth: int, num_heads: int, dropout: float) -> None:
    """Raise ValueError if a size is out of its range."""
    check_sizes("widths", widths)
    if not widths:
        raise ValueError("widths: got [], must have at least one level")
    if 2 ** (len(widths) - 1) > min(in_shape[1:]):
        raise ValueError(f"widths: got {len(widths)} levels, too many for images of {in_shape[1]}x{in_shape[2]} pixels")
    if depth < 1:
        raise ValueError(f"depth: got {depth}, must be at least 1")
    if num_heads < 0 or (num_heads and widths[-1] % num_heads):
        raise ValueError(f"num_heads: got {num_heads}, must be 0 or divide the last width, {widths[-1]}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: got {dropout}, must be at least 0 and below 1")
