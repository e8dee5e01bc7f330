"""The bag of words and n-grams."""

import pytest
import torch

from leyden.nets.bag import FIRST, NEXT, PRIME
from tests.nets.defaults import net

SIZES = {"vocab_size": 50, "embedding": 8, "buckets": 30}


def test_without_ngrams_it_is_a_linear_layer_on_the_mean_of_the_words() -> None:
    bag, ids = net("bag", (6,), 3, **{**SIZES, "ngrams": 1}), torch.tensor([[7, 9, 7, 0]])
    vectors = bag.mean.weight
    assert len(vectors) == 50
    assert bag(ids).allclose(bag.head((2 * vectors[7] + vectors[9]) / 3), atol=1e-6)
    assert bag(ids).allclose(bag(ids[:, [1, 0, 2]])), "the order of words does not matter"


def test_a_pair_is_a_hash() -> None:
    bag, ids = net("bag", (6,), 3, **{**SIZES, "ngrams": 3}), torch.tensor([[7, 9, 11, 0], [5, 0, 0, 0]])
    pairs, triples = bag.hashed(ids)
    one, two = ((a * FIRST + b * NEXT) % PRIME for a, b in ((7, 9), (9, 11)))
    assert pairs.tolist() == [[50 + one % 30, 50 + two % 30, 0, 0], [0] * 4]
    assert triples.tolist() == [[50 + (one * FIRST + 11 * NEXT) % PRIME % 30, 0, 0, 0], [0] * 4]
    vectors = bag.mean.weight[[7, 9, 11, *pairs[0, :2].tolist(), int(triples[0, 0])]]
    assert bag(ids)[0].allclose(bag.head(vectors.mean(0)), atol=1e-6)
    assert not bag(ids)[0].allclose(bag(ids[:1, [1, 0, 2, 3]])[0], atol=1e-4), "the order of words matters"


def test_pairs_are_spread_over_all_buckets() -> None:
    bag = net("bag", (6,), 3, **{**SIZES, "vocab_size": 20_000, "embedding": 1, "buckets": 100})
    ids = torch.randint(1, 20_000, (100, 101), generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(bag.hashed(ids)[0].flatten(), minlength=20_100)[20_000:]  # padding at the end of each text
    assert counts.sum() == 10_000
    assert 60 <= counts.min() <= counts.max() <= 140


@pytest.mark.parametrize("ngrams", [1, 2, 5])
def test_short_texts(ngrams: int) -> None:
    bag = net("bag", (6,), 3, **{**SIZES, "ngrams": ngrams})
    assert bag(torch.tensor([[3]])).allclose(bag(torch.tensor([[3, 0, 0, 0, 0, 0]])), atol=1e-6)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("ngrams", 0, "between 1 and 5"), ("buckets", 0, "between 1 and 2,147,483,646"), ("dropout", 1.0, "below 1")],
)
def test_values_out_of_range(key: str, value: float, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}: got {value}, must be .*{said}"):
        net("bag", (6,), 3, **{**SIZES, key: value})
