"""What the nets for texts share: vectors of tokens, and which tokens are padding.

Texts are token ids, int64 (B, T). Shorter texts end with padding, id 0. Nets must ignore it: their outputs do not
depend on how many padding tokens follow a text.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

PADDING = 0
STD = 0.1  # of the initial vectors


class TokenEmbedding(nn.Embedding):
    """Token ids, int64 (B, T), → a vector for each token, (B, T, D). That of padding has no meaning.

    Args:
        vocab_size: number of ids.
        dim: D.
        vectors: file with vectors of words, see `leyden.nets.word_vectors`. They replace the random ones when the
            training starts, and are trained with the net. None: all vectors are random.

    Raises:
        ValueError: a size is out of its range.
    """

    # padding_idx is not used: vmap, and thus an ensemble, ignores it for all members but the first (torch 2.14).
    def __init__(self, vocab_size: int, dim: int, vectors: str | None = None) -> None:
        check_sizes(vocab_size, dim)
        super().__init__(vocab_size, dim)
        nn.init.normal_(self.weight, std=STD)
        self.vectors = vectors


class TokenBag(nn.EmbeddingBag):
    """Token ids, int64 (B, T), → the mean of the vectors of each text, (B, D), without padding.

    The vectors of all tokens, (B, T, D), are never in memory. That makes a step up to three times as fast as
    `TokenEmbedding` and a sum.

    Args:
        vocab_size, dim, vectors: see `TokenEmbedding`.
        more: number of further ids, for example of pairs of tokens.

    Raises:
        ValueError: a size is out of its range.
    """

    def __init__(self, vocab_size: int, dim: int, vectors: str | None, more: int) -> None:
        check_sizes(vocab_size, dim)
        super().__init__(vocab_size + more, dim, mode="mean", padding_idx=PADDING)
        nn.init.normal_(self.weight, std=STD)
        self.vectors = vectors


def check_sizes(vocab_size: int, dim: int) -> None:
    """Raise ValueError if a size of an embedding is out of its range."""
    if dim < 1:
        raise ValueError(f"embedding: got {dim}, must be at least 1")
    if vocab_size < 2:
        raise ValueError(f"vocab_size: got {vocab_size}, must be at least 2")


def mask_of(ids: Tensor) -> Tensor:
    """Return which tokens are no padding, bool (B, T). The first token counts always, so that no text is empty."""
    return (ids != PADDING) | (torch.arange(ids.shape[1], device=ids.device) == 0)


def check_tokens(in_shape: Sequence[int], vocab_size: int, name: str) -> None:
    """Raise ValueError if the inputs of the net `name` are no token ids."""
    if vocab_size < 1 or len(in_shape) != 1:
        raise ValueError(f"in_shape: got {list(in_shape)}, a {name} needs texts [tokens], for example data=text")
