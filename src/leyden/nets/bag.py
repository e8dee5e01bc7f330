"""A bag of words: the mean of the vectors of all tokens, then a linear layer (fastText, Joulin et al., 2017).

As in fastText, sequences of neighbouring tokens (n-grams) have vectors too. There are too many different ones for a
table, so a hash chooses one of `buckets` vectors for each.

Differences to fastText: any optimizer and batch size, and dropout of the mean.

    B  batch        T  tokens        D  size of a vector
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from leyden.nets.embedding import PADDING, TokenBag, check_tokens
from leyden.nets.layers import check_shape

# Hash of a sequence: ((a · FIRST + b · NEXT) mod PRIME) · FIRST + c · NEXT …; no product exceeds 2**62.
PRIME, FIRST, NEXT = 2**31 - 1, 1_327_217_885, 1_640_531_527


class Bag(nn.Module):
    """Averaged embeddings: token ids, int64 (B, T), → outputs (B, num_outputs).

    Args:
        in_shape: (T,), the largest number of tokens.
        num_outputs: number of outputs.
        vocab_size: number of token ids.
        embedding: D.
        vectors: file with vectors of words, see `leyden.nets.word_vectors`.
        ngrams: 1: only tokens; 2: also pairs of neighbours; and so on, up to 5.
        buckets: number of vectors of all pairs and longer sequences; not used with ``ngrams=1``.
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
        check_tokens(in_shape, vocab_size, "bag")
        if not 1 <= ngrams <= 5:
            raise ValueError(f"ngrams: got {ngrams}, must be between 1 and 5")
        if not 1 <= buckets < PRIME:
            raise ValueError(f"buckets: got {buckets}, must be between 1 and {PRIME - 1:,}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: got {dropout}, must be at least 0 and below 1")
        self.vocab_size, self.ngrams, self.buckets = vocab_size, ngrams, buckets
        self.mean = TokenBag(vocab_size, embedding, vectors, more=buckets if ngrams > 1 else 0)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(embedding, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        ids = torch.cat([x, *self.hashed(x)], 1)  # (B, all n-grams)
        outputs: Tensor = self.head(self.dropout(self.mean(ids)))
        return outputs

    def hashed(self, x: Tensor) -> list[Tensor]:
        """Return the ids of all pairs, triples and so on, (B, T) each; padding where a text has ended."""
        found, hashes = [], x
        for size in range(2, self.ngrams + 1):
            # For each token, the last one of the n-gram that it begins.
            following = pad(x[:, size - 1 :], (0, min(size - 1, x.shape[1])), value=PADDING)
            hashes = (hashes * FIRST + following * NEXT) % PRIME
            found.append((self.vocab_size + hashes % self.buckets).where(following != PADDING, PADDING))
        return found
