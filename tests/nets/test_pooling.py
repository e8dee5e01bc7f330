"""Pooling of states, with and without padding."""

import pytest
import torch

from leyden.nets.pooling import Pool, Pooling, reversed_within

LENGTHS = (4, 2, 1)
MASK = torch.arange(4) < torch.tensor(LENGTHS)[:, None]
STATES = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["last", "mean", "max", "attention"])
def test_padding_has_no_influence(kind: Pooling) -> None:
    pool = Pool(kind, 5)
    alone = torch.cat([pool(STATES[row : row + 1, :length]) for row, length in enumerate(LENGTHS)])
    assert pool(STATES, MASK).allclose(alone, atol=1e-6)
    assert pool(STATES.masked_fill(~MASK[..., None], 1e6), MASK).allclose(alone, atol=1e-6)


def test_values() -> None:
    assert torch.equal(Pool("last", 5)(STATES, MASK), torch.stack((STATES[0, 3], STATES[1, 1], STATES[2, 0])))
    assert torch.equal(Pool("max", 5)(STATES, MASK)[1], STATES[1, :2].amax(0))
    assert Pool("mean", 5)(STATES, MASK)[1].allclose(STATES[1, :2].mean(0), atol=1e-6)


def test_attention_is_a_weighted_mean() -> None:
    pool = Pool("attention", 5)
    assert pool.score is not None
    weights = pool.score(STATES[1, :2]).softmax(0)  # (2, 1)
    assert pool(STATES, MASK)[1].allclose((weights * STATES[1, :2]).sum(0), atol=1e-6)


def test_each_sequence_is_reversed_within_its_length() -> None:
    found = reversed_within(STATES, MASK)
    assert torch.equal(found[0], STATES[0].flip(0))
    assert torch.equal(found[1], STATES[1, [1, 0, 2, 3]])
    assert torch.equal(reversed_within(found, MASK), STATES)
