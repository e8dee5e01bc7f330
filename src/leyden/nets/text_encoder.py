"""The text encoder of CLIP (Radford et al., 2021): token ids → a vector in the space that texts share with images.

It is a transformer, as in the paper, or a bag of words and pairs of words, which is faster. Differences to the paper:
every token attends to all tokens, a learned class token (not the end of the text) gives the vector, and the sizes are
those of short texts.
"""

from torch import nn

from leyden.nets.bag import Bag
from leyden.nets.transformer import Transformer

NUM_HEADS = 4
BUCKETS = 10_000  # of pairs of words


def text_encoder(max_tokens: int, vocab_size: int, dim: int, num_layers: int, num_outputs: int) -> nn.Module:
    """Return a net: token ids, int64 (B, T), → vectors, (B, num_outputs).

    Args:
        max_tokens: largest T.
        vocab_size: number of token ids.
        dim: size of the vector of a token.
        num_layers: blocks of the transformer; 0: a bag of words.
        num_outputs: size of the shared space.

    Raises:
        ValueError: a size is out of its range. The message names it as the keys of the task do.
    """
    if num_layers < 0:
        raise ValueError(f"text_layers: got {num_layers}, must be at least 0 (0: a bag of words)")
    if dim < NUM_HEADS or dim % NUM_HEADS:
        raise ValueError(f"text_dim: got {dim}, must be a multiple of {NUM_HEADS}, the number of attention heads")
    if num_layers == 0:
        return Bag((max_tokens,), num_outputs, vocab_size, dim, vectors=None, ngrams=2, buckets=BUCKETS, dropout=0.0)
    return Transformer(
        (max_tokens,), num_outputs, patch=1, dim=dim, num_layers=num_layers, num_heads=NUM_HEADS, mlp_ratio=4.0,
        positions="learned", stem="patch", pool="class", dropout=0.0, vocab_size=vocab_size, vectors=None,
    )  # fmt: skip
