"""Encoder-decoder transformer (Vaswani et al., 2017) that reads an image and writes symbols, one after the other.

The encoder is that of `leyden.nets.transformer`: patches of the image look at each other. The decoder predicts each
symbol from the ones before it, which look at each other (each at the past only), and at the encoded image. In
training the symbols before are the true ones, all places at once (teacher forcing, Williams and Zipser, 1989);
else they are those it has written itself, each the likeliest (greedy decoding).

Ours differs in that norms come first (Xiong et al., 2020), and in that it writes a fixed number of symbols: what
follows the last symbol of the alphabet, which means the end, is of no matter. It stands before the first one, too.

    B  batch          L  symbols, `length`      D  width of a token
    S  patches        V  size of the alphabet
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leyden.nets.transformer import Attention, EncoderBlock, FeedForward, Positions, Stem, Tokens, check_sizes


class DecoderBlock(nn.Module):
    """(B, T, D) → (B, T, D): symbols look at those before them, then at the image, then each thinks for itself."""

    def __init__(self, dim: int, num_heads: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_self, self.norm_image, self.norm_feed_forward = (nn.LayerNorm(dim) for _ in range(3))
        self.look_back = Attention(dim, num_heads, dropout)
        self.look_at_image = Attention(dim, num_heads, dropout)
        self.feed_forward = FeedForward(dim, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """
        Args:
            x: (B, T, D), the symbols so far.
            image: (B, S, D), encoded.
        """
        x = x + self.dropout(self.look_back(self.norm_self(x), causal=True))
        x = x + self.dropout(self.look_at_image(self.norm_image(x), image))
        x = x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))
        return x


class Seq2Seq(nn.Module):
    """float (B, C, height, width) or (B, steps, F) → (B, num_outputs), the logits of L symbols of V each, in a row.

    Args:
        in_shape: (C, height, width) of an image or (steps, F) of a series.
        num_outputs: L · V.
        length: L; with 1, all outputs are written at once, as any other net does.
        patch: side of a patch in pixels.
        dim: width of a token.
        num_layers: blocks of the encoder, and of the decoder.
        num_heads: of each attention.
        mlp_ratio: hidden size of a block's dense net over `dim`.
        positions: of the patches, learned or sinusoidal; those of the symbols are learned.
        stem: patch or conv, see `leyden.nets.transformer.Tokens`.
        dropout: probability of zeroing an attention weight or a value on its way into the residual path.

    Raises:
        ValueError: a size does not fit another or is out of its range, or samples are neither images nor series.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        length: int = 1,
        patch: int = 8,
        dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
        positions: Positions = "learned",
        stem: Stem = "conv",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
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
        """
        Args:
            x: float (B, C, height, width) or (B, steps, F).
            targets: int64 (B, L), the true symbols, from which the logits of those after them follow; below 0
                where there is none. Without, the symbols that the net itself finds likeliest take their place.
        """
        image = self.encoder(x)  # (B, S, D)
        end = self.symbols.num_embeddings - 1
        written = torch.full((len(x), 1), end, device=x.device)
        if targets is not None:
            written = torch.cat((written, targets[:, :-1].where(targets[:, :-1] >= 0, end)), dim=1)  # (B, L)
        while written.shape[1] < len(self.places):
            likeliest = self.decode(written, image)[:, -1].argmax(1)  # (B,)
            written = torch.cat((written, likeliest[:, None]), dim=1)
        return self.decode(written, image).flatten(1)  # (B, L · V)

    def decode(self, written: Tensor, image: Tensor) -> Tensor:
        """Logits of the symbol after each one: int64 (B, T), (B, S, D) → (B, T, V)."""
        x = self.symbols(written) + self.places[: written.shape[1]]  # (B, T, D)
        for block in self.decoder:
            x = block(x, image)
        logits: Tensor = self.head(self.norm(x))
        return logits
