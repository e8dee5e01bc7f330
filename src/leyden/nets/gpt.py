"""Decoder-only transformer that predicts the next token of a text: GPT-2 (Radford et al., 2019).

Each block consists of causal attention and a feed-forward net, both with a residual connection and with norms before
them. The initial weights are those of GPT-2: normal with a standard deviation of 0.02; the last layer of each residual
branch is divided by the square root of the number of branches. The sizes are those of the config.

Differences to GPT-2: optional rotary positions (Su et al., 2021), and the output layer can have weights of its own.

Without a cache, all positions of a text are computed at once. With a `Cache`, keys and values of earlier tokens are
kept, so that each new token costs one position.

    B  batch          T  tokens               D  width of a token
    H  heads          S  tokens so far        K  width of a head, D / H
    V  vocabulary     L  blocks
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from leyden.nets.layers import check_shape
from leyden.nets.transformer import FeedForward, check_sizes

Positions = Literal["learned", "rotary"]

STD = 0.02  # of the initial weights
LONGEST_PERIOD = 10_000.0  # of rotary positions, divided by 2π


class KeysAndValues:
    """Keys and values of the tokens so far, (B, H, S, K) each, of one block."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add those of new tokens, (B, H, T, K) each; return those of all tokens."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat((self.keys, keys), dim=2), torch.cat((self.values, values), dim=2)
        self.keys, self.values = keys, values
        return keys, values


class Cache:
    """What a `GPT` keeps of the tokens that it has seen.

    Args:
        num_layers: number of blocks.
    """

    def __init__(self, num_layers: int) -> None:
        self.layers = [KeysAndValues() for _ in range(num_layers)]

    def __len__(self) -> int:
        """Return the number of tokens so far."""
        keys = self.layers[0].keys
        return 0 if keys is None else keys.shape[2]


class CausalAttention(nn.Module):
    """Multi-head attention of each token to itself and the tokens before it: (B, T, D) → (B, T, D)."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rotation: Tensor | None, memory: KeysAndValues | None) -> Tensor:
        """Apply attention.

        Args:
            x: (B, T, D), the new tokens.
            rotation: (2, T, K / 2), see `rotations`; None: positions are in `x` already.
            memory: keys and values of the tokens before `x`; those of `x` are added.
        """
        parts = self.query_key_value(x).view(x.shape[0], x.shape[1], 3, self.num_heads, -1)  # (B, T, 3, H, K)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (B, H, T, K) each
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        mask = None
        if memory is not None:
            key, value = memory.append(key, value)  # (B, H, S, K) each
            mask = torch.ones(x.shape[1], key.shape[2], dtype=torch.bool, device=x.device)
            mask = mask.tril(key.shape[2] - x.shape[1])  # (T, S): the last token sees all
        attended = scaled_dot_product_attention(
            query, key, value, mask, dropout_p=self.dropout if self.training else 0.0, is_causal=mask is None
        )  # (B, H, T, K)
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))  # (B, T, D)
        return out


class Block(nn.Module):
    """Block of a decoder, (B, T, D) → (B, T, D): causal attention, then a feed-forward net."""

    def __init__(self, dim: int, num_heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = CausalAttention(dim, num_heads, dropout)
        self.feed_forward = FeedForward(dim, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rotation: Tensor | None, memory: KeysAndValues | None) -> Tensor:
        x = x + self.dropout(self.attention(self.norm_attention(x), rotation, memory))
        x = x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))
        return x


class GPT(nn.Module):
    """Language model: token ids, int64 (B, T) → logits of the next token after each token, float (B, T, V).

    Args:
        in_shape: (T,) the largest number of tokens.
        num_outputs: V.
        vocab_size: V, number of rows of the embedding. 0: the samples are no token ids, which is an error.
        dim: D.
        num_layers: L.
        num_heads: H.
        mlp_ratio: hidden size of a feed-forward net divided by `dim`.
        positions: learned, one vector for each position; or rotary, which turn queries and keys by their position.
        tie_weights: whether the output layer uses the weights of the embedding (Press and Wolf, 2017).
        dropout: probability of zeroing an attention weight, or a value of the embedding or of a residual branch.

    Raises:
        ValueError: the samples are no texts to continue, or a size is out of its range or does not fit another one.
    """

    angles: Tensor | None

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        vocab_size: int,
        dim: int,
        num_layers: int,
        num_heads: int,
        mlp_ratio: float,
        positions: Positions,
        tie_weights: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        check_shape(in_shape, num_outputs)
        check_task(in_shape, num_outputs, vocab_size)
        check_sizes(dim, num_layers, num_heads, mlp_ratio, dropout)
        if positions == "rotary" and (dim // num_heads) % 2:
            raise ValueError(f"num_heads: got {num_heads}, but rotary positions need heads of an even width")
        (self.max_tokens,), self.vocab_size = in_shape, vocab_size
        self.tokens = nn.Embedding(vocab_size, dim)
        learned = positions == "learned"
        self.positions = nn.Parameter(torch.empty(self.max_tokens, dim)) if learned else None
        angles = None if learned else rotations(self.max_tokens, dim // num_heads)
        self.register_buffer("angles", angles, persistent=False)
        self.dropout = nn.Dropout(dropout)
        hidden = round(mlp_ratio * dim)
        self.blocks = nn.ModuleList(Block(dim, num_heads, hidden, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        self.head = None if tie_weights else nn.Linear(dim, vocab_size, bias=False)
        self._initialise(num_branches=2 * num_layers)

    def _initialise(self, num_branches: int) -> None:
        for name, weight in self.named_parameters():
            if "norm" in name:
                continue
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            else:
                is_last = name.endswith(("attention.out.weight", "feed_forward.3.weight"))  # of a residual branch
                nn.init.normal_(weight, std=STD / math.sqrt(num_branches) if is_last else STD)

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Return the logits of the next token after each token of `ids`, (B, T, V).

        Args:
            ids: int64 (B, T).
            cache: what is known of the tokens before `ids`; `ids` are added to it. None: there are none.

        Raises:
            ValueError: there would be more than `max_tokens` tokens.
        """
        start, num = 0 if cache is None else len(cache), ids.shape[1]
        if start + num > self.max_tokens:
            raise ValueError(f"ids: {start + num} tokens are too many, this net has {self.max_tokens} positions")
        x = self.tokens(ids)  # (B, T, D)
        if self.positions is not None:
            x = x + self.positions[start : start + num]
        rotation = None if self.angles is None else self.angles[:, start : start + num]  # (2, T, K / 2)
        x = self.dropout(x)
        for number, block in enumerate(self.blocks):
            x = block(x, rotation, None if cache is None else cache.layers[number])
        x = self.norm(x)
        return linear(x, self.tokens.weight) if self.head is None else self.head(x)  # (B, T, V)

    def new_cache(self) -> Cache:
        """Return a cache without tokens."""
        return Cache(len(self.blocks))


def check_task(in_shape: Sequence[int], num_outputs: int, vocab_size: int) -> None:
    """Raise ValueError unless samples are token ids and there is one output for each token of the vocabulary."""
    if vocab_size < 0:
        raise ValueError(f"vocab_size: got {vocab_size}, must be at least 1")
    if vocab_size == 0 or len(in_shape) != 1 or num_outputs != vocab_size:
        raise ValueError(
            f"in_shape: got {list(in_shape)}, a gpt needs a text to continue, [tokens], as data=characters gives it"
        )


def rotations(num_tokens: int, width: int) -> Tensor:
    """Return cosines and sines of the angles of each position, (2, T, K / 2); periods 2π to 20,000π."""
    frequency = LONGEST_PERIOD ** (-torch.arange(0, width, 2) / width)  # (K / 2,)
    angles = torch.arange(num_tokens)[:, None] * frequency  # (T, K / 2)
    return torch.stack((angles.cos(), angles.sin()))


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn each pair of values, one from each half of a head, by the angle of its position: (B, H, T, K) → the same."""
    cos, sin = rotation
    one, other = x.chunk(2, dim=-1)  # (B, H, T, K / 2) each
    return torch.cat((one * cos - other * sin, one * sin + other * cos), dim=-1)
