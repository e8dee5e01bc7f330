"""Transformer encoder (Vaswani et al., 2017) on the patches of an image: ViT (Dosovitskiy et al., 2021).

An image is cut into square patches, a series into its steps; each becomes a token, to which its position is added.
Blocks of attention and a small dense net, each beside a residual path, let tokens look at each other; the outputs
follow from an additional class token or from the mean of all. Norms come before attention and dense net, which
needs no warm-up to train (Xiong et al., 2020).

Ours differs from ViT in its sizes, and in a choice of sinusoidal positions and mean pooling.
`Attention` and `FeedForward` serve decoders too: attention to another sequence, and to the past only.

    B  batch          T  tokens                D  width of a token
    H  heads          S  tokens looked at      K  width of a head, D / H
    C, P  channels of an image, side of a patch
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

Positions = Literal["learned", "sinusoidal"]
Pooling = Literal["class", "mean"]
Stem = Literal["patch", "conv"]


class Attention(nn.Module):
    """Multi-head attention: each token of `x` looks at those of `memory`, by default at those of `x` itself.

    Args:
        dim: D.
        num_heads: H.
        dropout: probability of not looking at a token, in training.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, memory: Tensor | None = None, causal: bool = False) -> Tensor:
        """(B, T, D) → (B, T, D).

        Args:
            x: (B, T, D), the tokens that look.
            memory: (B, S, D), the tokens that are looked at.
            causal: whether token t looks at the tokens up to t only.
        """
        query, key, value = self._project(x, memory)
        dropout = self.dropout if self.training else 0.0
        seen = scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=causal)  # (B, H, T, K)
        out: Tensor = self.out(seen.transpose(1, 2).flatten(2))  # (B, T, D)
        return out

    def weights(self, x: Tensor, memory: Tensor | None = None, causal: bool = False) -> Tensor:
        """How much each token looks at each, (B, H, T, S), rows sum to 1: what the fused kernel of `forward` keeps
        to itself. Without dropout.
        """
        query, key, _ = self._project(x, memory)
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])  # (B, H, T, S)
        if causal:
            future = torch.ones(scores.shape[2:], dtype=torch.bool, device=x.device).triu(1)  # (T, S)
            scores = scores.masked_fill(future, -math.inf)
        return scores.softmax(-1)

    def _project(self, x: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, (B, H, T, K); keys and values, (B, H, S, K)."""
        key, value = self.key_value(x if memory is None else memory).chunk(2, dim=-1)  # (B, S, D) each
        return self._split(self.query(x)), self._split(key), self._split(value)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(len(x), x.shape[1], self.num_heads, -1).transpose(1, 2)  # (B, T, D) → (B, H, T, K)


class FeedForward(nn.Sequential):
    """The dense net of a block, the same on each token: (B, T, D) → (B, T, D), by way of `hidden`."""

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))


class EncoderBlock(nn.Module):
    """(B, T, D) → (B, T, D): tokens look at each other, then each thinks for itself."""

    def __init__(self, dim: int, num_heads: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, num_heads, dropout)
        self.feed_forward = FeedForward(dim, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm_attention(x)))
        x = x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))
        return x


class Tokens(nn.Module):
    """A token per patch of an image, (B, C, height, width), or per step of a series, (B, steps, F) → (B, T, D).

    Patches go from left to right and from top to bottom; where they do not tile the image, the last ones reach over
    its edge and see zeros there. Each token knows its position.

    Args:
        in_shape: (C, height, width) of an image or (steps, F) of a series.
        dim: D.
        patch: P; of no matter for a series.
        positions: learned, or sinusoidal (Vaswani et al., 2017), which need no learning.
        stem: how a patch becomes a token: by one linear map, or by as many 3x3 convolutions as halve the image down
            to its tokens, which see a little beyond the patch and train faster (Xiao et al., 2021).

    Raises:
        ValueError: the shape is neither, or no image can be cut into such patches.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        dim: int,
        patch: int,
        positions: Positions = "learned",
        stem: Stem = "patch",
    ) -> None:
        super().__init__()
        self.embed: nn.Module
        if len(in_shape) == 3:
            channels, height, width = in_shape
            if not 1 <= patch <= min(height, width):
                raise ValueError(f"patch: got {patch}, must be between 1 and {min(height, width)}, the image's side")
            self.overhang = (0, -width % patch, 0, -height % patch)  # left, right, above, below
            self.num_tokens = math.ceil(height / patch) * math.ceil(width / patch)
            embed = nn.Conv2d(channels, dim, patch, stride=patch) if stem == "patch" else halvings(channels, dim, patch)
            self.embed = nn.Sequential(embed, nn.Flatten(2))  # (B, D, T)
        elif len(in_shape) == 2:
            self.overhang = (0, 0, 0, 0)
            self.num_tokens, features = in_shape
            self.embed = nn.Conv1d(features, dim, 1)  # (B, F, T) → (B, D, T)
        else:
            raise ValueError(
                f"in_shape: got {list(in_shape)}, a transformer takes images [channels, height, width] or series "
                "[steps, features]"
            )
        table = sinusoids(self.num_tokens, dim)
        if positions == "learned":
            self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty_like(table), std=0.02))
        else:
            self.register_buffer("positions", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x if x.dim() == 4 else x.transpose(1, 2)
        tokens: Tensor = self.embed(pad(x, self.overhang) if any(self.overhang) else x)  # (B, D, T)
        return tokens.transpose(1, 2) + self.positions  # (B, T, D)


def halvings(channels: int, dim: int, patch: int) -> nn.Sequential:
    """(B, C, height, width) → (B, D, height / P, width / P), by way of D/4, D/2, D channels or the like.

    Raises:
        ValueError: `patch` is no power of two from 2 on.
    """
    steps = patch.bit_length() - 1
    if patch != 2**steps or steps < 1:
        raise ValueError(f"patch: got {patch}, must be a power of two from 2 on with stem=conv")
    sizes = [channels, *(max(dim >> step, 1) for step in reversed(range(steps)))]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(dim, dim, 1))


class Transformer(nn.Module):
    """float (B, C, height, width) or (B, steps, F) → (B, num_outputs).

    Args:
        in_shape: (C, height, width) of an image or (steps, F) of a series.
        num_outputs: size of the output.
        patch: side of a patch in pixels, see `Tokens`.
        dim: width of a token.
        num_layers: number of blocks.
        num_heads: of attention, in each block.
        mlp_ratio: hidden size of a block's dense net over `dim`.
        positions: learned or sinusoidal.
        stem: patch or conv, see `Tokens`.
        pool: what the outputs follow from, the class token or the mean of the others.
        dropout: probability of zeroing an attention weight or a value on its way into the residual path.

    Raises:
        ValueError: a size does not fit another or is out of its range, or samples are neither images nor series.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        patch: int = 4,
        dim: int = 64,
        num_layers: int = 3,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
        positions: Positions = "learned",
        stem: Stem = "patch",
        pool: Pooling = "class",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(dim, num_layers, num_heads, mlp_ratio, dropout)
        self.tokens = Tokens(in_shape, dim, patch, positions, stem)
        class_token = nn.init.trunc_normal_(torch.empty(1, 1, dim), std=0.02)
        self.class_token = nn.Parameter(class_token) if pool == "class" else None
        hidden = round(mlp_ratio * dim)
        self.blocks = nn.ModuleList(EncoderBlock(dim, num_heads, hidden, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self._embed(x)  # (B, T, D)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        outputs: Tensor = self.head(x.mean(1) if self.class_token is None else x[:, 0])  # (B, num_outputs)
        return outputs

    @torch.no_grad()
    def attention(self, x: Tensor) -> Tensor:
        """How much each token looks at each in each block, for plots: (layers, B, H, T, S), rows sum to 1.

        With ``pool="class"`` token 0 is the class token, and ``[:, :, :, 0, 1:]`` is how much it looks at each patch.
        """
        x, found = self._embed(x), []
        for block in self.blocks:
            found.append(block.attention.weights(block.norm_attention(x)))  # type: ignore[operator, union-attr]
            x = block(x)
        return torch.stack(found)

    def _embed(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.tokens(x)  # (B, patches or steps, D)
        if self.class_token is None:
            return tokens
        return torch.cat((self.class_token.expand(len(x), -1, -1), tokens), dim=1)  # (B, 1 + those, D)


def check_sizes(dim: int, num_layers: int, num_heads: int, mlp_ratio: float, dropout: float) -> None:
    """Raises ValueError if one is out of its range, or the heads do not divide the width evenly."""
    if dim < 2 or dim % 2:
        raise ValueError(f"dim: got {dim}, must be an even number from 2")
    if num_layers < 1:
        raise ValueError(f"num_layers: got {num_layers}, must be at least 1")
    if mlp_ratio * dim < 1:
        raise ValueError(f"mlp_ratio: got {mlp_ratio}, must be at least 1 / dim")
    if num_heads < 1 or dim % num_heads:
        raise ValueError(f"num_heads: got {num_heads}, must divide dim, which is {dim}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: got {dropout}, must be at least 0 and below 1")


def sinusoids(num_tokens: int, dim: int) -> Tensor:
    """Positions as waves, (T, D): sines in the even columns, cosines in the odd, of periods from 2π to 20,000π."""
    position = torch.arange(num_tokens)[:, None]  # (T, 1)
    frequency = torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))  # (D / 2,)
    angles = position * frequency  # (T, D / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)  # (T, D)
