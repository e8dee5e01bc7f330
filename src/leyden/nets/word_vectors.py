"""Vectors of words that were trained elsewhere: by GloVe (Pennington et al., 2014), word2vec or fastText.

The file has the text format of these programs: one word per line, then its D numbers, separated by single spaces. A
first line with the number of words and D, as word2vec and fastText write it, is skipped.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from leyden.errors import UserError
from leyden.nets.embedding import TokenBag, TokenEmbedding

MAX_LINE = 1 << 20  # bytes
NUM_RESERVED = 2  # ids of padding and the unknown token, which are no words


def load_vectors(net: nn.Module, tokens: Sequence[str]) -> str:
    """Copy vectors into the embeddings of `net` that have a file of them. Other tokens keep their random vectors.

    Args:
        net: a net, or an ensemble, whose members get the same vectors.
        tokens: the tokens in the order of their ids.

    Returns:
        How many tokens have a vector, as a message; an empty text if no embedding has a file.

    Raises:
        UserError: the file cannot be read or is damaged, its vectors have another size, or it has none of the tokens.
    """
    said = ""
    for layer, path in _layers(net):
        ids = {token: number for number, token in enumerate(tokens) if number >= NUM_RESERVED}
        rows, vectors = [], []
        for word, vector in read_vectors(path, layer.embedding_dim, ids):
            rows.append(ids[word])
            vectors.append(vector)
        if not rows:
            raise UserError(f"model.vectors: {path} has none of the {len(ids):,} tokens, such as {tokens[-1]!r}")
        with torch.no_grad():
            layer.weight[..., rows, :] = torch.stack(vectors).to(layer.weight)  # (V, D); of an ensemble (M, V, D)
        said = f"model.vectors: {len(set(rows)):,} of {len(ids):,} tokens have a vector in {path}"
    return said


def check_vectors(net: nn.Module) -> None:
    """Raise UserError if the file of an embedding of `net` cannot be read, or its first vector has another size."""
    for layer, path in _layers(net):
        next(read_vectors(path, layer.embedding_dim, None), None)


def read_vectors(path: Path, dim: int, wanted: Mapping[str, int] | None) -> Iterator[tuple[str, Tensor]]:
    """Yield the words in `wanted` that a file has, each with its vector (dim,).

    Args:
        path: the file.
        dim: size of a vector.
        wanted: None: all words.

    Raises:
        UserError: the file cannot be read, a line is damaged, or the vectors have another size.
    """
    first = 1
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
                parts = line.split(maxsplit=2)
                if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                    first = 2
                    continue
                if number > first and wanted is not None and parts and parts[0].decode(errors="replace") not in wanted:
                    continue
                word, vector = _parsed(line, dim, f"line {number} of {path}", is_first=number == first)
                if wanted is None or word in wanted:
                    yield word, vector
    except OSError as error:
        raise UserError(f"model.vectors: cannot read {path} ({error.strerror})") from error


def _parsed(line: bytes, dim: int, where: str, is_first: bool) -> tuple[str, Tensor]:
    """Return the word and the vector of a line. The word may contain spaces, but not in the first line."""
    word, *values = line.strip().rsplit(maxsplit=dim)
    if len(values) != dim or (is_first and len(word.split()) > 1):
        num = len(line.split()) - 1
        raise UserError(
            f"model.vectors: {where} has {num} numbers, but {dim} are needed, the size of a token's vector "
            "(model.embedding; of a transformer model.dim)"
        )
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise UserError(f"model.vectors: {where} has a value that is not a finite number")
    return word.decode(errors="replace"), torch.tensor(numbers)


def _layers(net: nn.Module) -> Iterator[tuple[TokenEmbedding | TokenBag, Path]]:
    for layer in net.modules():
        if isinstance(layer, TokenEmbedding | TokenBag) and layer.vectors is not None:
            yield layer, Path(layer.vectors).expanduser()
