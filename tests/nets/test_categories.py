"""Vectors of categories, worked out by hand."""

import pytest
import torch
from torch import nn

from leyden.nets.categories import CategoryVectors, vector_size
from leyden.nets.mlp import MLP
from tests.nets.defaults import net


def test_codes_become_vectors_and_numbers_stay() -> None:
    vectors = CategoryVectors([0, 2, 0, 0, 1], 2)
    assert vectors.out_size == 3 + 2 * 2
    first, second = vectors.vectors[1], vectors.vectors[3]
    assert isinstance(first, nn.Embedding)
    assert isinstance(second, nn.Embedding)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1, 2], [3, 4], [5, 6]]))
        second.weight.copy_(torch.tensor([[7, 8], [9, 10]]))
    x = torch.tensor([[0.5, 2, -1, 7, 1], [0, 0, 0, 0, 0], [0, 9, 0, 0, -3]])
    assert vectors(x).tolist() == [[0.5, 5, 6, -1, 7, 9, 10], [0, 1, 2, 0, 0, 7, 8], [0, 5, 6, 0, 0, 7, 8]]


def test_the_vector_of_a_category_that_does_not_occur_stays_zero() -> None:
    torch.manual_seed(0)
    mlp = net("mlp", (2,), 1, hidden=[8], category_sizes=[0, 3])
    assert isinstance(mlp, MLP)
    optimizer = torch.optim.AdamW(mlp.parameters(), 0.01)
    for _ in range(5):
        optimizer.zero_grad()
        mlp(torch.tensor([[0.5, 1], [-1, 2]])).square().sum().backward()
        optimizer.step()
    assert mlp.vectors is not None
    used = mlp.vectors.vectors[1].weight.abs().sum(1) > 0  # type: ignore[union-attr, operator]
    assert used.tolist() == [False, True, True, False]


def test_sizes_follow_from_the_number_of_categories() -> None:
    assert [vector_size(num) for num in (1, 2, 10, 100, 10**6)] == [2, 2, 6, 21, 600]
    assert net("mlp", (2,), 1, category_sizes=[10, 0]).layers[0].in_features == 7  # type: ignore[union-attr, index]
    assert net("mlp", (2,), 1, category_sizes=[10, 0], embedding=3).layers[0].in_features == 4  # type: ignore[union-attr, index]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"category_sizes": [1]}, r"category_sizes: has 1 sizes, but in_shape is \[2\]"),
        ({"category_sizes": [1, -1]}, r"category_sizes: got \[1, -1\], every size must be at least 0"),
        ({"category_sizes": [1, 0], "embedding": 0}, "embedding: got 0, must be at least 1, or null"),
    ],
)
def test_a_wrong_size(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        net("mlp", (2,), 1, **options)
