"""Encoder-decoder transformer (Vaswani et al., 2017) that reads an image and predicts a sequence of symbols.

The encoder is that of `leyden.nets.transformer`. The decoder predicts each symbol from the symbols before it, by causal
attention, and from the encoded image, by cross-attention. In training, the symbols before it are the true ones, so all
positions are computed at once (teacher forcing, Williams and Zipser, 1989). Otherwise they are the net's own
predictions, each the most likely symbol (greedy decoding).

Differences to the paper: norms come first (Xiong et al., 2020), and the net predicts a fixed number of symbols. The
last symbol of the alphabet means the end; all symbols after it are ignored. It also stands before the first symbol.

    B  batch          L  symbols, `length`      D  width of a token
    S  patches        V  size of the alphabet
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leyden.nets.layers import check_shape
from leyden.nets.transformer import Attention, EncoderBlock, FeedForward, Positions, Stem, Tokens, check_sizes


class DecoderBlock(nn.Module):
    """Block of a decoder, (B, T, D) → (B, T, D): causal self-attention, cross-attention, feed-forward net."""

    def __init__(self, dim: int, num_heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm_self, self.norm_image, self.norm_feed_forward = (nn.LayerNorm(dim) for _ in range(3))
        self.look_back = Attention(dim, num_heads, dropout)
        self.look_at_image = Attention(dim, num_heads, dropout)
        self.feed_forward = FeedForward(dim, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """Apply the block to the symbols so far, (B, T, D), and the encoded image, (B, S, D)."""
        x = x + self.dropout(self.look_back(self.norm_self(x), causal=True))
        x = x + self.dropout(self.look_at_image(self.norm_image(x), image))
        x = x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))
        return x


class Seq2Seq(nn.Module):
    """Sequence model: float (B, C, height, width) or (B, steps, F) → logits (B, L · V) of L symbols.

    Args:
        in_shape: (C, height, width) of an image or (steps, F) of a series.
        num_outputs: L · V.
        length: L; with 1, all outputs are computed at once, as in any other net.
        patch: side of a patch in pixels.
        dim: width of a token.
        num_layers: number of blocks of the encoder, and of the decoder.
        num_heads: number of attention heads of each block.
        mlp_ratio: hidden size of a feed-forward net divided by `dim`.
        positions: learned or sinusoidal, for the patches; the positions of the symbols are learned.
        stem: patch or conv, see `leyden.nets.transformer.Tokens`.
        dropout: probability of zeroing an attention weight, or a value before it is added to the residual.

    Raises:
        ValueError: samples are neither images nor series, or a size is out of its range or does not fit another one.
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
    ) -> None:
        super().__init__()
        check_shape(in_shape, num_outputs)
        check_sizes(dim, num_layers, num_heads, mlp_ratio, dropout)
        if length < 1 or num_outputs % length:
            raise ValueError(f"length: got {length}, must divide the number of outputs, {num_outputs}")
        sizes = dim, num_heads, round(mlp_ratio * dim), dropout
        self.encoder = nn.Sequential(
            Tokens(in_shape, dim, patch, positions, stem),
            *(EncoderBlock(*sizes) for _ in range(num_layers)),
            nn.LayerNorm(dim),
        )
        self.symbols = nn.Embedding(num_outputs // length, dim)
        self.places = nn.Parameter(nn.init.trunc_normal_(torch.empty(length, dim), std=0.02))
        self.decoder = nn.ModuleList(DecoderBlock(*sizes) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_outputs // length)

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor:
        """Predict the logits of each symbol, (B, L · V), from the symbols before it.

        Args:
            x: float (B, C, height, width) or (B, steps, F).
            targets: int64 (B, L), the true symbols, negative after the end of a text. Each symbol is predicted from
                the true symbols before it (teacher forcing). If `targets` is None, it is predicted from the net's own
                predictions (greedy decoding).
        """
        image = self.encoder(x)  # (B, S, D)
        end = self.symbols.num_embeddings - 1
        symbols = torch.full((x.shape[0], 1), end, device=x.device)
        if targets is not None:
            symbols = torch.cat((symbols, targets[:, :-1].where(targets[:, :-1] >= 0, end)), dim=1)  # (B, L)
        while symbols.shape[1] < len(self.places):
            most_likely = self.decode(symbols, image)[:, -1].argmax(1)  # (B,)
            symbols = torch.cat((symbols, most_likely[:, None]), dim=1)
        return self.decode(symbols, image).flatten(1)  # (B, L · V)

    def decode(self, symbols: Tensor, image: Tensor) -> Tensor:
        """Return the logits of the next symbol after each symbol, (B, T, V): symbols (B, T), image (B, S, D)."""
        x = self.symbols(symbols) + self.places[: symbols.shape[1]]  # (B, T, D)
        for block in self.decoder:
            x = block(x, image)
        logits: Tensor = self.head(self.norm(x))
        return logits

    @torch.no_grad()
    def attention(self, x: Tensor, symbols: Tensor) -> Tensor:
        """Return the weights with which each symbol attends to the image, for plots: (layers, B, H, L, S).

        H is the number of heads. Rows sum to 1.

        Args:
            x: float (B, C, height, width) or (B, steps, F).
            symbols: int64 (B, L), the symbols of the texts, negative after their end.
        """
        image, end = self.encoder(x), self.symbols.num_embeddings - 1
        before = torch.cat((torch.full((len(x), 1), end, device=x.device), symbols[:, :-1]), dim=1)  # (B, L)
        tokens, weights = self.symbols(before.where(before >= 0, end)) + self.places, []  # (B, L, D)
        for block in self.decoder:
            assert isinstance(block, DecoderBlock)
            known = tokens + block.look_back(block.norm_self(tokens), causal=True)
            weights.append(block.look_at_image.weights(block.norm_image(known), image))
            tokens = block(tokens, image)
        return torch.stack(weights)
