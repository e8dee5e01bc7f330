"""A bag of words: the mean of the vectors of all tokens, then a linear layer (fastText, Joulin et al., 2017).

As in fastText, pairs of neighbouring tokens can have vectors too. There are too many different pairs for a table, so a
hash chooses one of `buckets` vectors for each.

Differences from fastText: any optimizer and batch size, and dropout of the mean.

    B  batch        T  tokens        D  size of a vector
"""

from collections.abc import Sequence

from torch import Tensor, nn

from leyden.nets.embedding import TokenEmbedding, mask_of, needs_tokens
from leyden.nets.layers import check_shape

# A family of universal hash functions (Carter and Wegman, 1979). No product is above 2**63.
PRIME, FIRST, NEXT = 2**31 - 1, 1_327_217_885, 1_640_531_527


class Bag(nn.Module):
    """Averaged embeddings: token ids, int64 (B, T), → outputs (B, num_outputs).

    Args:
        in_shape: (T,), the largest number of tokens.
        num_outputs: number of outputs.
        vocab_size: number of token ids.
        embedding: D.
        vectors: file with vectors of words, see `TokenEmbedding`.
        ngrams: 1: only tokens; 2: also pairs of neighbours; and so on.
        buckets: number of vectors of all pairs; not used with ``ngrams=1``.
        dropout: probability of zeroing a number of the mean.

    Raises:
        ValueError: the inputs are no token ids, or a value is out of its range.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        vocab_size: int,
        embedding: int,
        vectors: str | None,
        ngrams: int,
        buckets: int,
        dropout: float,
    ) -> None:
        super().__init__()
        check_shape(in_shape, num_outputs)
        needs_tokens(in_shape, vocab_size, "bag")
        if not 1 <= ngrams <= 5:
            raise ValueError(f"ngrams: got {ngrams}, must be between 1 and 5")
        if not 1 <= buckets < PRIME:
            raise ValueError(f"buckets: got {buckets}, must be between 1 and {PRIME - 1:,}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: got {dropout}, must be at least 0 and below 1")
        self.ngrams, self.buckets = ngrams, buckets
        self.embedding = TokenEmbedding(vocab_size, embedding, vectors)
        self.pairs = nn.Embedding(buckets, embedding) if ngrams > 1 else None
        if self.pairs is not None:
            nn.init.normal_(self.pairs.weight, std=0.1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(embedding, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        mask = mask_of(x)  # (B, T)
        total, num = self.embedding(x).sum(1), mask.sum(1, keepdim=True)  # (B, D), (B, 1)
        if self.pairs is not None:
            hashed = x
            for size in range(1, min(self.ngrams, x.shape[1])):
                hashed = (hashed[:, :-1] * FIRST + x[:, size:] * NEXT) % PRIME  # (B, T - size)
                complete = mask[:, size:]
                vectors = self.pairs(hashed % self.buckets) * complete[..., None]  # (B, T - size, D)
                total, num = total + vectors.sum(1), num + complete.sum(1, keepdim=True)
        outputs: Tensor = self.head(self.dropout(total / num.clamp(min=1)))
        return outputs
