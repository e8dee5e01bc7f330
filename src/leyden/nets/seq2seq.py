"""Encoder-decoder transformer (Vaswani et al., 2017) that reads an image or a text and writes a sequence of symbols.

The encoder is that of `leyden.nets.transformer`. The decoder predicts each symbol from the symbols before it, by causal
attention, and from the encoded input, by cross-attention. In training, all positions are computed at once. A step of
a search computes one position: keys and values of the earlier ones are kept.

Differences to the paper: norms come first (Xiong et al., 2020), and the net predicts a limited number of symbols. The
symbols, their end and their beginning are those of `SequenceModel`.

    B  batch                 L  symbols at most, `length`      D  width of a token      H  heads
    S  patches or tokens     T  symbols, V size of the         K  width of a head
       of the input             alphabet
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, scaled_dot_product_attention

from leyden.nets.embedding import TokenEmbedding, mask_of
from leyden.nets.layers import check_shape
from leyden.nets.sequence_model import SequenceModel, Tensors
from leyden.nets.transformer import (
    Attention,
    EncoderBlock,
    FeedForward,
    Positions,
    Stem,
    Tokens,
    added,
    check_sizes,
    sinusoids,
)


class DecoderBlock(nn.Module):
    """Block of a decoder, (B, T, D) → (B, T, D): causal self-attention, cross-attention, feed-forward net."""

    def __init__(self, dim: int, num_heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm_self, self.norm_image, self.norm_feed_forward = (nn.LayerNorm(dim) for _ in range(3))
        self.look_back = Attention(dim, num_heads, dropout)
        self.look_at_image = Attention(dim, num_heads, dropout)
        self.feed_forward = FeedForward(dim, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, image: Tensor, mask: Tensor | None) -> Tensor:
        """Apply the block.

        Args:
            x: (B, T, D), the symbols so far.
            image: (B, S, D), the encoded input.
            mask: bool (B, S), which parts of it are no padding. None: all.
        """
        x = added(x, self.dropout(self.look_back(self.norm_self(x), causal=True)))
        x = added(x, self.dropout(self.look_at_image(self.norm_image(x), image, mask=mask)))
        x = added(x, self.dropout(self.feed_forward(self.norm_feed_forward(x))))
        return x

    def step(self, x: Tensor, past: Tensor, image: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Apply the block to one symbol, (B, 1, D), without dropout; return it and the keys and values with its own.

        Args:
            x: (B, 1, D), the symbol.
            past: keys and values of the earlier symbols, (B, 2, H, t, K).
            image: keys and values of the encoded input, (B, 2, H, S, K).
            mask: see `forward`.
        """
        normed = self.norm_self(x)
        past = torch.cat((past, keys_and_values(self.look_back, normed)), dim=3)
        x = x + attended(self.look_back, normed, past, None)
        x = x + attended(self.look_at_image, self.norm_image(x), image, mask)
        return x + self.feed_forward(self.norm_feed_forward(x)), past


def keys_and_values(attention: Attention, x: Tensor) -> Tensor:
    """Return the keys and values that `attention` computes from tokens, (B, 2, H, S, K): x (B, S, D)."""
    found: Tensor = attention.key_value(x).unflatten(-1, (2, attention.num_heads, -1))  # (B, S, 2, H, K)
    return found.permute(0, 2, 3, 1, 4)


def attended(attention: Attention, x: Tensor, keys_values: Tensor, mask: Tensor | None) -> Tensor:
    """Return what `attention` gives for one token, (B, 1, D), with keys and values that were computed before."""
    query = attention.query(x).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)  # (B, H, 1, K)
    key, value = keys_values.unbind(1)  # (B, H, S, K) each
    allowed = None if mask is None else mask[:, None, None]  # (B, 1, 1, S)
    out: Tensor = attention.out(scaled_dot_product_attention(query, key, value, allowed).transpose(1, 2).flatten(2))
    return out


class Seq2Seq(SequenceModel):
    """Sequence model: an image, a series or a text → logits (B, L · V) of L symbols.

    The inputs are float (B, C, height, width), float (B, steps, F), or token ids, int64 (B, T), T up to `max_tokens`,
    in which 0 is padding.

    Args:
        in_shape: (C, height, width) of an image, (steps, F) of a series or (max_tokens,) of a text.
        num_outputs: L · V.
        length: L; with 1, all outputs are computed at once, as in any other net.
        vocab_size: number of different tokens of a text. 0: the inputs are no texts.
        patch: side of a patch in pixels. Images only.
        dim: width of a token.
        num_layers: number of blocks of the encoder, and of the decoder.
        num_heads: number of attention heads of each block.
        mlp_ratio: hidden size of a feed-forward net divided by `dim`.
        positions: learned or sinusoidal, for the patches, steps or tokens. Those of the symbols are learned; with texts
            they are of this kind, too.
        stem: patch or conv, see `leyden.nets.transformer.Tokens`. Images only.
        tie_weights: whether tokens and symbols, which are the same, share one embedding, which is also the output
            layer (Press and Wolf, 2017). Translations only.
        dropout: probability of zeroing an attention weight, or a value before it is added to the residual; of texts
            also a value of an embedding.

    Raises:
        ValueError: samples are neither images nor series nor texts, or a size is out of its range or does not fit
            another one.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        length: int,
        patch: int,
        dim: int,
        num_layers: int,
        num_heads: int,
        mlp_ratio: float,
        positions: Positions,
        stem: Stem,
        dropout: float,
        vocab_size: int,
        tie_weights: bool,
    ) -> None:
        check_shape(in_shape, num_outputs)
        check_sizes(dim, num_layers, num_heads, mlp_ratio, dropout)
        super().__init__(num_outputs, length)
        self.vocab_size = vocab_size
        sizes = dim, num_heads, round(mlp_ratio * dim), dropout
        self.encoder = nn.Sequential(
            places(in_shape, dim, positions) if vocab_size else Tokens(in_shape, dim, patch, positions, stem),
            *(EncoderBlock(*sizes) for _ in range(num_layers)),
            nn.LayerNorm(dim),
        )
        is_translation = (
            vocab_size > 0 and length > 1 and self.num_symbols == vocab_size + 1
        )  # tokens and the end symbol
        is_tied = tie_weights and is_translation
        self.dropout = nn.Dropout(dropout if vocab_size else 0.0)
        self._embed_symbols(dim, is_tied, sinusoidal=vocab_size > 0 and positions == "sinusoidal")
        self.decoder = nn.ModuleList(DecoderBlock(*sizes) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        if is_tied:
            nn.init.normal_(self.symbols.weight, std=dim**-0.5)
            self.bias = nn.Parameter(torch.zeros(self.num_symbols))
        self.head = None if is_tied else nn.Linear(dim, self.num_symbols)

    def _embed_symbols(self, dim: int, is_tied: bool, sinusoidal: bool) -> None:
        """Make the embeddings of symbols, of their positions, and of the tokens of texts unless they are symbols."""
        self.symbols = nn.Embedding(self.num_symbols, dim)
        self.words = TokenEmbedding(self.vocab_size, dim) if self.vocab_size and not is_tied else None
        self.scale = math.sqrt(dim) if is_tied else 1.0
        self.word_scale = math.sqrt(dim) if is_tied or sinusoidal else 1.0  # sines are large
        if sinusoidal:
            self.register_buffer("places", sinusoids(self.length, dim), persistent=False)
        else:
            self.places = nn.Parameter(nn.init.trunc_normal_(torch.empty(self.length, dim), std=0.02))

    def encode(self, x: Tensor) -> Tensors:
        """Return the encoded input, (B, S, D); of texts also which of its tokens are no padding, bool (B, S)."""
        if not self.vocab_size:
            return (self.encoder(x),)
        mask = mask_of(x)
        weight = self.symbols.weight if self.words is None else self.words.weight
        first, *blocks, norm = self.encoder
        tokens = self.dropout(first(embedding(x, weight) * self.word_scale))  # (B, S, D)
        for block in blocks:
            tokens = block(tokens, mask)
        return norm(tokens), mask

    def decode(self, before: Tensor, memory: Tensors) -> Tensor:
        x = self._embed(before, 0)  # (B, T, D)
        for block in self.decoder:
            x = block(x, memory[0], memory_mask(memory))
        return self._logits(x)

    def begin(self, memory: Tensors) -> Tensors:
        """Return keys and values of the symbols so far, none, and of the input, for each block; and the mask."""
        state: list[Tensor] = []
        for block in self.decoder:
            assert isinstance(block, DecoderBlock)
            image = keys_and_values(block.look_at_image, memory[0])
            state += [image[:, :, :, :0], image]
        return (*state, *memory[1:])

    def step(self, symbols: Tensor, state: Tensors) -> tuple[Tensor, Tensors]:
        x, new = self._embed(symbols[:, None], state[0].shape[3]), list(state)  # (B, 1, D)
        mask = state[-1] if len(state) % 2 else None
        for number, block in enumerate(self.decoder):
            assert isinstance(block, DecoderBlock)
            x, new[2 * number] = block.step(x, state[2 * number], state[2 * number + 1], mask)
        return self._logits(x)[:, 0], tuple(new)

    def _logits(self, x: Tensor) -> Tensor:
        """Return the logits after the last block, (B, T, V): x (B, T, D)."""
        x = self.norm(x)
        return linear(x, self.symbols.weight, self.bias) if self.head is None else self.head(x)

    def _embed(self, symbols: Tensor, position: int) -> Tensor:
        """Return symbols, (B, T), the first of which has this position, as tokens: (B, T, D)."""
        places = self.places[position : position + symbols.shape[1]]
        tokens: Tensor = self.dropout(self.symbols(symbols) * self.scale + places)
        return tokens

    @torch.no_grad()
    def attention(self, x: Tensor, symbols: Tensor) -> Tensor:
        """Return the weights with which each symbol attends to the input, for plots: the mean of all heads, (B, T, S).

        Args:
            x: the inputs, as for `forward`.
            symbols: int64 (B, T), the symbols of the texts, negative after their end.
        """
        return self.attention_of_heads(x, symbols).mean((0, 2))

    @torch.no_grad()
    def attention_of_heads(self, x: Tensor, symbols: Tensor) -> Tensor:
        """Return the weights of each block and head, (layers, B, H, T, S), see `attention`."""
        memory, weights = self.encode(x), []
        tokens = self._embed(self.shifted(symbols), 0)  # (B, T, D)
        for block in self.decoder:
            assert isinstance(block, DecoderBlock)
            known = tokens + block.look_back(block.norm_self(tokens), causal=True)
            weights.append(block.look_at_image.weights(block.norm_image(known), memory[0], mask=memory_mask(memory)))
            tokens = block(tokens, memory[0], memory_mask(memory))
        return torch.stack(weights)


def memory_mask(memory: Tensors) -> Tensor | None:
    """Return which tokens of the input are no padding, bool (B, S); None for images and series."""
    return memory[1] if len(memory) > 1 else None


class Places(nn.Module):
    """Adds positions to the tokens of texts: (B, T, D) → (B, T, D).

    Args:
        num_tokens: largest number of tokens.
        dim: D.
        positions: learned or sinusoidal.
    """

    def __init__(self, num_tokens: int, dim: int, positions: Positions) -> None:
        super().__init__()
        table = sinusoids(num_tokens, dim)
        if positions == "learned":
            self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty_like(table), std=0.02))
        else:
            self.register_buffer("positions", table, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.positions[: tokens.shape[1]]


def places(in_shape: Sequence[int], dim: int, positions: Positions) -> Places:
    """Return the positions of the tokens of texts. Raise ValueError if the samples are no texts."""
    if len(in_shape) != 1:
        raise ValueError(f"in_shape: got {list(in_shape)}, but the tokens of a text are a vector, [max_tokens]")
    return Places(in_shape[0], dim, positions)
