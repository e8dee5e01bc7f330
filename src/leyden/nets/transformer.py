"""Transformer encoder (Vaswani et al., 2017) on texts, and on the patches of an image: ViT (Dosovitskiy et al., 2021).

An image is divided into square patches, a series into its steps, a text into its tokens. A position is added to each
token. A block consists of attention and a feed-forward net, both with a residual connection. The outputs are computed
from an additional class token or from all tokens. No token attends to padding. Norms are applied before attention and
feed-forward net, which makes training stable without a long warm-up (Xiong et al., 2020).

Differences to ViT: other sizes, and optional sinusoidal positions and mean pooling. Decoders use `Attention` and
`FeedForward` too, with attention to another sequence and with causal attention.

    B  batch          T  tokens (queries)      D  width of a token
    H  heads          S  tokens (keys)         K  width of a head, D / H
    C, P  channels of an image, side of a patch
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from leyden.nets.embedding import TokenEmbedding, mask_of
from leyden.nets.layers import check_shape
from leyden.nets.pooling import Pool

Positions = Literal["learned", "sinusoidal"]
Summary = Literal["class", "mean", "max", "attention", "last"]
Stem = Literal["patch", "conv"]


class Attention(nn.Module):
    """Multi-head attention of the tokens of `x` to those of `memory`, by default to those of `x` itself.

    Args:
        dim: D.
        num_heads: H.
        dropout: probability of zeroing an attention weight in training.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(
        self, x: Tensor, memory: Tensor | None = None, causal: bool = False, mask: Tensor | None = None
    ) -> Tensor:
        """(B, T, D) → (B, T, D).

        Args:
            x: (B, T, D), the tokens that give the queries.
            memory: (B, S, D), the tokens that give keys and values.
            causal: whether token t attends only to the tokens up to t.
            mask: bool (B, S), false for tokens of `memory` that are padding. None: there is no padding.
        """
        query, key, value = self._project(x, memory)
        dropout = self.dropout if self.training else 0.0
        allowed = allowed_pairs(query.shape[2], mask, causal)
        is_causal = causal and allowed is None
        attended = scaled_dot_product_attention(query, key, value, allowed, dropout, is_causal)  # (B, H, T, K)
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))  # (B, T, D)
        return out

    def weights(
        self, x: Tensor, memory: Tensor | None = None, causal: bool = False, mask: Tensor | None = None
    ) -> Tensor:
        """Return the attention weights without dropout, (B, H, T, S); rows sum to 1.

        The fused kernel in `forward` does not return them.
        """
        query, key, _ = self._project(x, memory)
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])  # (B, H, T, S)
        if causal:
            future = torch.ones(scores.shape[2:], dtype=torch.bool, device=x.device).triu(1)  # (T, S)
            scores = scores.masked_fill(future, -math.inf)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], -math.inf)
        return scores.softmax(-1)

    def _project(self, x: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, (B, H, T, K), keys and values, (B, H, S, K) each."""
        key, value = self.key_value(x if memory is None else memory).chunk(2, dim=-1)  # (B, S, D) each
        return self._split(self.query(x)), self._split(key), self._split(value)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.num_heads, -1).transpose(1, 2)  # (B, T, D) → (B, H, T, K)


def allowed_pairs(num_queries: int, mask: Tensor | None, causal: bool) -> Tensor | None:
    """Return which tokens attend to which, bool (B, 1, T or 1, S), or None if there is no padding.

    Args:
        num_queries: T.
        mask, causal: see `Attention.forward`.
    """
    if mask is None:
        return None
    allowed = mask[:, None, None]  # (B, 1, 1, S)
    if not causal:
        return allowed
    past = torch.ones(num_queries, mask.shape[1], dtype=torch.bool, device=mask.device).tril()
    return allowed & past


class FeedForward(nn.Sequential):
    """Feed-forward net of a block, applied to each token: (B, T, D) → (B, T, hidden) → (B, T, D)."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))


class EncoderBlock(nn.Module):
    """Block of an encoder, (B, T, D) → (B, T, D): self-attention, then a feed-forward net."""

    def __init__(self, dim: int, num_heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, num_heads, dropout)
        self.feed_forward = FeedForward(dim, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, D) → (B, T, D); `mask` as for `Attention`."""
        x = added(x, self.dropout(self.attention(self.norm_attention(x), mask=mask)))
        x = added(x, self.dropout(self.feed_forward(self.norm_feed_forward(x))))
        return x


def added(x: Tensor, change: Tensor) -> Tensor:
    """Return x + change in the type of x. With mixed precision, a CPU adds two types four times as slowly as one."""
    return x + change.to(x.dtype)


class Tokens(nn.Module):
    """Patches of images (B, C, height, width), or steps of series (B, steps, F) → tokens with positions (B, T, D).

    Patches are ordered from left to right and from top to bottom. If they do not tile the image, it is padded with
    zeros on the right and at the bottom.

    Args:
        in_shape: (C, height, width) of an image or (steps, F) of a series.
        dim: D.
        patch: P; not used for series.
        positions: learned or sinusoidal (Vaswani et al., 2017).
        stem: how a patch becomes a token. patch: by one linear map. conv: by 3x3 convolutions of stride 2. They train
            faster (Xiao et al., 2021), and their receptive field is larger than the patch.

    Raises:
        ValueError: samples are neither images nor series, or the patch does not fit.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        dim: int,
        patch: int,
        positions: Positions,
        stem: Stem,
    ) -> None:
        super().__init__()
        self.embed: nn.Module
        if len(in_shape) == 3:
            channels, height, width = in_shape
            if not 1 <= patch <= min(height, width):
                raise ValueError(
                    f"patch: got {patch}, must be between 1 and {min(height, width)}, the side of an image"
                )
            self.padding = (0, -width % patch, 0, -height % patch)  # left, right, top, bottom
            self.grid = math.ceil(height / patch), math.ceil(width / patch)  # rows and columns of patches
            self.num_tokens = math.prod(self.grid)
            embed = (
                nn.Conv2d(channels, dim, patch, stride=patch) if stem == "patch" else conv_stem(channels, dim, patch)
            )
            self.embed = nn.Sequential(embed, nn.Flatten(2))  # (B, D, T)
        elif len(in_shape) == 2:
            self.padding = (0, 0, 0, 0)
            self.num_tokens, features = in_shape
            self.grid = self.num_tokens, 1
            self.embed = nn.Conv1d(features, dim, 1)  # (B, F, T) → (B, D, T)
        else:
            raise ValueError(
                f"in_shape: got {list(in_shape)}, a transformer needs images [channels, height, width], series "
                "[steps, features], or texts"
            )
        table = sinusoids(self.num_tokens, dim)
        if positions == "learned":
            self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty_like(table), std=0.02))
        else:
            self.register_buffer("positions", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x if x.dim() == 4 else x.transpose(1, 2)
        tokens: Tensor = self.embed(pad(x, self.padding) if any(self.padding) else x)  # (B, D, T)
        return tokens.transpose(1, 2) + self.positions  # (B, T, D)


def conv_stem(channels: int, dim: int, patch: int) -> nn.Sequential:
    """Return convolutions: (B, C, height, width) → (B, D, height / P, width / P), with …, D/4, D/2, D channels.

    Raises:
        ValueError: `patch` is not a power of two, or it is below 2.
    """
    steps = patch.bit_length() - 1
    if patch != 2**steps or steps < 1:
        raise ValueError(f"patch: got {patch}, must be 2, 4, 8 or another power of two with stem=conv")
    sizes = [channels, *(max(dim >> step, 1) for step in reversed(range(steps)))]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(dim, dim, 1))


class WordTokens(nn.Module):
    """Token ids, int64 (B, T), → tokens with positions (B, T, D). T may be smaller than the number of positions.

    Args:
        num_tokens: largest T.
        vocab_size, dim, vectors: see `TokenEmbedding`.
        positions: learned or sinusoidal.
        dropout: probability of zeroing a value.
    """

    def __init__(
        self, num_tokens: int, vocab_size: int, dim: int, vectors: str | None, positions: Positions, dropout: float
    ) -> None:
        super().__init__()
        self.embed = TokenEmbedding(vocab_size, dim, vectors)
        self.dropout = nn.Dropout(dropout)
        self.scale = math.sqrt(dim) if positions == "sinusoidal" else 1.0  # as in the paper: sines are large
        table = sinusoids(num_tokens, dim)
        if positions == "learned":
            self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty_like(table), std=0.02))
        else:
            self.register_buffer("positions", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.dropout(self.embed(x) * self.scale + self.positions[: x.shape[1]])
        return tokens


class Transformer(nn.Module):
    """Transformer encoder: float (B, C, height, width) or (B, steps, F), or token ids int64 (B, T) → (B, num_outputs).

    Args:
        in_shape: (C, height, width) of an image, (steps, F) of a series or (T,) tokens of a text.
        num_outputs: number of outputs.
        patch: side of a patch in pixels, see `Tokens`.
        dim: width of a token.
        num_layers: number of blocks.
        num_heads: number of attention heads of each block.
        mlp_ratio: hidden size of a feed-forward net divided by `dim`.
        positions: learned or sinusoidal.
        stem: patch or conv, see `Tokens`.
        pool: class, to compute the outputs from the class token, or mean, max, attention or last, see `Pool`.
        dropout: probability of zeroing an attention weight, a value before it is added to the residual, or a value of a
            word with its position.
        vocab_size: number of token ids; 0: the samples are no texts.
        vectors: file with vectors of words, see `leyden.nets.word_vectors`.

    Raises:
        ValueError: samples are no images, series or texts, or a size is out of its range or does not fit another one.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        patch: int,
        dim: int,
        num_layers: int,
        num_heads: int,
        mlp_ratio: float,
        positions: Positions,
        stem: Stem,
        pool: Summary,
        dropout: float,
        vocab_size: int,
        vectors: str | None,
    ) -> None:
        super().__init__()
        check_shape(in_shape, num_outputs)
        check_sizes(dim, num_layers, num_heads, mlp_ratio, dropout)
        self.reads_texts = vocab_size > 0 and len(in_shape) == 1
        self.tokens: nn.Module
        if self.reads_texts:
            self.tokens = WordTokens(in_shape[0], vocab_size, dim, vectors, positions, dropout)
        else:
            self.tokens = Tokens(in_shape, dim, patch, positions, stem)
        class_token = nn.init.trunc_normal_(torch.empty(1, 1, dim), std=0.02)
        self.class_token = nn.Parameter(class_token) if pool == "class" else None
        hidden = round(mlp_ratio * dim)
        self.blocks = nn.ModuleList(EncoderBlock(dim, num_heads, hidden, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        self.pool = Pool(pool, dim) if pool != "class" else None
        self.head = nn.Linear(dim, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        mask = self._mask(x)  # (B, T)
        x = self.encode(self.tokens(x), mask)  # (B, T, D)
        outputs: Tensor = self.head(x[:, 0] if self.pool is None else self.pool(x, mask))  # (B, num_outputs)
        return outputs

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the tokens after all blocks: (B, T, D) of all or some patches or steps → (B, T or 1 + T, D).

        With ``pool="class"``, the class token comes first.

        Args:
            tokens: (B, T, D)
            mask: which tokens of texts are no padding, bool (B, T or 1 + T), with the class token; None: all.
        """
        x = self._with_class(tokens)
        for block in self.blocks:
            x = block(x, mask)
        encoded: Tensor = self.norm(x)
        return encoded

    @torch.no_grad()
    def attention(self, x: Tensor) -> Tensor:
        """Return the attention weights of all blocks, for plots: (layers, B, H, T, S); rows sum to 1.

        With ``pool="class"``, token 0 is the class token, and ``[:, :, :, 0, 1:]`` are its weights of the patches.
        """
        x, mask, weights = self._with_class(self.tokens(x)), self._mask(x), []
        for block in self.blocks:
            normed = block.norm_attention(x)  # type: ignore[operator]
            weights.append(block.attention.weights(normed, mask=mask))  # type: ignore[operator, union-attr]
            x = block(x, mask)
        return torch.stack(weights)

    def _with_class(self, tokens: Tensor) -> Tensor:
        """Return the class token, if there is one, and the tokens, (B, T, D)."""
        if self.class_token is None:
            return tokens
        return torch.cat((self.class_token.expand(tokens.shape[0], -1, -1), tokens), dim=1)

    def _mask(self, x: Tensor) -> Tensor | None:
        """Return which tokens of texts are no padding, bool (B, T); None for images and series."""
        if not self.reads_texts:
            return None
        return mask_of(x) if self.class_token is None else pad(mask_of(x), (1, 0), value=True)


def check_sizes(dim: int, num_layers: int, num_heads: int, mlp_ratio: float, dropout: float) -> None:
    """Raise ValueError if a size is out of its range, or if the heads do not divide the width evenly."""
    if dim < 2 or dim % 2:
        raise ValueError(f"dim: got {dim}, must be an even number, at least 2")
    if num_layers < 1:
        raise ValueError(f"num_layers: got {num_layers}, must be at least 1")
    if not 1 <= mlp_ratio * dim < math.inf:
        raise ValueError(f"mlp_ratio: got {mlp_ratio}, must be at least 1 / dim")
    if num_heads < 1 or dim % num_heads:
        raise ValueError(f"num_heads: got {num_heads}, must divide dim, which is {dim}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: got {dropout}, must be at least 0 and below 1")


def sinusoids(num_tokens: int, dim: int) -> Tensor:
    """Return sinusoidal positions, (T, D): sines in even columns, cosines in odd ones; periods 2π to 20,000π."""
    position = torch.arange(num_tokens)[:, None]  # (T, 1)
    frequency = torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))  # (D / 2,)
    angles = position * frequency  # (T, D / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)  # (T, D)
