"""A convolutional net for texts (Kim, 2014): filters on windows of words, and for each filter its largest value.

Zeros surround a text, as in the author's code. So short texts have windows too, and a filter gives at least its value
for a window of zeros. That makes the result independent of padding without a mask for each filter.

Differences to the paper: the norm of the weights has no limit, and there is one set of vectors.

    B  batch        T  tokens        D  size of a vector        F  filters of each width
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from leyden.nets.embedding import PADDING, TokenEmbedding, check_tokens, mask_of
from leyden.nets.layers import check_shape, check_sizes


class TextCNN(nn.Module):
    """Convolutions on words: token ids, int64 (B, T), → outputs (B, num_outputs).

    Args:
        in_shape: (T,), the largest number of tokens.
        num_outputs: number of outputs.
        vocab_size: number of token ids.
        embedding: D.
        vectors: file with vectors of words, see `leyden.nets.word_vectors`.
        widths: tokens in the window of a filter, one number for each kind of filter.
        channels: F.
        dropout: probability of zeroing a value of a filter.

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
        widths: Sequence[int],
        channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        check_shape(in_shape, num_outputs)
        check_tokens(in_shape, vocab_size, "textcnn")
        check_sizes("widths", widths)
        if not widths:
            raise ValueError("widths: got [], must have at least one width")
        if channels < 1:
            raise ValueError(f"channels: got {channels}, must be at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: got {dropout}, must be at least 0 and below 1")
        self.embedding = TokenEmbedding(vocab_size, embedding, vectors)
        self.filters = nn.ModuleList(nn.Conv1d(embedding, channels, width, padding=width - 1) for width in widths)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels * len(widths), num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = pad(x, (0, 1), value=PADDING)  # so that the last window of each filter is one of zeros
        # A convolution is faster if its input is contiguous, and `max` than `amax` in the backward pass.
        words = (self.embedding(x) * mask_of(x)[..., None]).transpose(1, 2).contiguous()  # (B, D, T + 1)
        found = [filters(words).max(2).values for filters in self.filters]  # (B, F) each
        outputs: Tensor = self.head(self.dropout(torch.cat(found, 1).relu()))  # after the maximum, relu is the same
        return outputs
