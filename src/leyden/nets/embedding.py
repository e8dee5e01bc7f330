"""Embeddings of tokens, with random vectors or those of GloVe (Pennington et al., 2014) or word2vec."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from leyden.errors import UserError

PADDING = 0
MAX_LINE = 1 << 20  # bytes of a line of a file of vectors


class TokenEmbedding(nn.Module):
    """Token ids, int64 (B, T), → vectors (B, T, D). The vector of padding, id 0, is zero.

    Args:
        vocab_size: number of ids.
        dim: D.
        vectors: file with vectors of words, in the text format of GloVe or word2vec. They replace the random ones when
            the training starts, and are trained with the net. null: all vectors are random.
        std: standard deviation of the random numbers.

    Raises:
        ValueError: a size is out of its range.
    """

    def __init__(self, vocab_size: int, dim: int, vectors: str | None = None, std: float = 0.1) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"embedding: got {dim}, must be at least 1")
        if vocab_size < 2:
            raise ValueError(f"vocab_size: got {vocab_size}, must be at least 2")
        self.vectors = vectors
        self.weight = nn.Parameter(torch.randn(vocab_size, dim) * std)

    def forward(self, ids: Tensor) -> Tensor:
        vectors = nn.functional.embedding(ids, self.weight)  # (B, T, D)
        return vectors * mask_of(ids)[..., None]

    @torch.no_grad()
    def load(self, tokens: Sequence[str]) -> int:
        """Copy the vectors of the file. Return how many tokens have one.

        Args:
            tokens: the tokens in the order of their ids.

        Raises:
            UserError: the file cannot be read, or its vectors have another size.
        """
        assert self.vectors is not None
        ids = {token: number for number, token in enumerate(tokens)}
        found = set()
        for word, vector in read_vectors(Path(self.vectors).expanduser(), self.weight.shape[-1], ids):
            self.weight[..., ids[word], :] = vector  # also of all members of an ensemble
            found.add(word)
        return len(found)


def mask_of(ids: Tensor) -> Tensor:
    """Return which tokens are no padding, bool (B, T)."""
    return ids != PADDING


def needs_tokens(in_shape: Sequence[int], vocab_size: int, name: str) -> None:
    """Raise ValueError if the inputs of a net are no token ids."""
    if vocab_size < 1 or len(in_shape) != 1:
        raise ValueError(f"in_shape: got {list(in_shape)}, a {name} needs texts, for example data=imdb or data=text")


def read_vectors(path: Path, dim: int, wanted: "dict[str, int]") -> Iterator[tuple[str, Tensor]]:
    """Yield the words in `wanted` that a file has, each with its vector (dim,).

    Raises:
        UserError: the file cannot be read, a line is damaged, or the vectors have another size.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE):
                number += 1
                _, _, rest = line.strip().partition(b" ")
                if number == 1 and rest.isdigit():
                    continue  # word2vec begins with the number of words and their size
                values = line.strip().rsplit(b" ", dim)
                if len(values) != dim + 1 or (b" " in values[0].strip() and number == 1):
                    raise UserError(
                        f"model.vectors: line {number} of {path} does not have {dim} numbers, which model.embedding "
                        f"(transformer: model.dim) needs; it has {len(line.split()) - 1}"
                    )
                name = values[0].decode(errors="replace")
                if name in wanted:
                    yield name, _vector(values[1:], f"line {number} of {path}")
    except OSError as error:
        raise UserError(f"model.vectors: cannot read {path} ({error.strerror})") from error


def _vector(values: Sequence[bytes], where: str) -> Tensor:
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise UserError(f"model.vectors: {where} has a value that is not a finite number")
    return torch.tensor(numbers)
