"""Batches of texts of similar length: order, padding, processes, resumed epochs and ensembles."""

from typing import Any

import pytest
import torch
from torch import Tensor

from leyden.data.loaders import Batch
from leyden.data.text_loaders import (
    POOL,
    TextEvalLoader,
    TextTrainLoader,
    bucketed,
    longest,
    padding_fraction,
)
from leyden.data.texts import to_int64
from leyden.seeding import generator

NUM, MOST = 1003, 40


@pytest.fixture(scope="module")
def texts() -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, in which a text consists of its own number, their numbers as targets, and their lengths."""
    lengths = torch.randint(1, MOST + 1, (NUM,), generator=torch.Generator().manual_seed(0))
    ids = torch.where(torch.arange(MOST) < lengths[:, None], torch.arange(1, NUM + 1)[:, None], 0)
    return ids.to(torch.int16), torch.arange(NUM), lengths


def loader(texts: tuple[Tensor, Tensor, Tensor], batch_size: int = 8, **arguments: Any) -> TextTrainLoader:
    ids, targets, lengths = texts
    return TextTrainLoader(ids, targets, batch_size, to_int64, lengths=lengths, **arguments)


def numbers(batches: list[Batch]) -> list[int]:
    return torch.cat([targets for _, targets in batches]).tolist()


class TestTraining:
    def test_an_epoch_has_each_text_once_complete_and_with_its_target(self, texts: tuple[Tensor, ...]) -> None:
        batches = list(loader(texts))
        assert len(batches) == len(loader(texts)) == -(-NUM // 8)
        assert sorted(numbers(batches)) == list(range(NUM))
        for inputs, targets in batches:
            assert inputs.dtype == torch.int64
            assert inputs[:, 0].tolist() == (targets + 1).tolist()
            assert ((inputs != 0).sum(1) == texts[2][targets]).all()

    def test_there_is_little_padding(self, texts: tuple[Tensor, ...]) -> None:
        widths = [inputs.shape[1] for inputs, _ in loader(texts)]
        order = torch.tensor(numbers(list(loader(texts))))
        assert widths == longest(texts[2][order], 8, MOST)
        assert padding_fraction(texts[2][order], widths, 8) < 0.25
        assert padding_fraction(texts[2], [MOST] * len(widths), 8) == pytest.approx(0.49, abs=0.02)

    def test_widths_are_rounded_up_by_less_than_an_eighth(self) -> None:
        assert longest(torch.tensor([1, 8, 9, 3, 16, 19]), 2, 20) == [8, 9, 20]
        assert longest(torch.tensor([16, 17, 33, 65, 129, 99]), 1, 100) == [16, 18, 36, 72, 100, 100]

    def test_each_epoch_has_another_order_and_a_seed_gives_it_again(self, texts: tuple[Tensor, ...]) -> None:
        orders = [numbers(list(loader(texts, position=lambda epoch=epoch: (epoch, 0)))) for epoch in (0, 0, 1)]
        assert orders[0] == orders[1] != orders[2]
        assert numbers(list(loader(texts, seeds=(1,)))) != orders[0]

    def test_a_resumed_epoch_goes_on_where_it_was(self, texts: tuple[Tensor, ...]) -> None:
        whole, rest = list(loader(texts)), list(loader(texts, position=lambda: (0, 5 * 8)))
        assert len(rest) == len(whole) - 5
        for one, other in zip(whole[5:], rest, strict=True):
            assert torch.equal(one[0], other[0])
            assert torch.equal(one[1], other[1])

    def test_two_processes_use_the_texts_of_one_with_a_larger_batch(self, texts: tuple[Tensor, ...]) -> None:
        one, *both = list(loader(texts, 8)), *(list(loader(texts, 4, rank=rank, world=2)) for rank in range(2))
        assert [len(batches) for batches in both] == [len(both[0])] * 2
        for whole, first, second in zip(one, *both, strict=False):
            merged = torch.cat((first[1], second[1]))
            assert sorted(merged.tolist()) == sorted(whole[1].tolist()) or len(whole[1]) < 8
            assert first[0].shape[1] == second[0].shape[1]

    def test_an_ensemble_has_the_texts_of_each_member_one_after_the_other(self, texts: tuple[Tensor, ...]) -> None:
        alone = [list(loader(texts, seeds=(seed,))) for seed in (3, 4)]
        for (inputs, targets), *singles in zip(loader(texts, seeds=(3, 4)), *alone, strict=True):
            assert targets.tolist() == torch.cat([single[1] for single in singles]).tolist()
            assert inputs.shape[1] == max(single[0].shape[1] for single in singles)


class TestBuckets:
    def test_pools_are_sorted_and_their_batches_shuffled(self) -> None:
        lengths = torch.arange(4 * POOL) % 97
        order = torch.randperm(4 * POOL, generator=generator(0, "order"))
        batches = bucketed(order, lengths, 4, generator(0, "batches")).view(POOL, 4)
        spans = lengths[batches].amax(1) - lengths[batches].amin(1)
        assert int(spans.max()) <= 3
        assert lengths[batches].amax(1).tolist() != sorted(lengths[batches].amax(1).tolist())

    def test_a_smaller_last_batch_stays_last(self) -> None:
        order = torch.arange(11)
        found = bucketed(order, torch.arange(11), 4, generator(0, "batches"))
        assert found[8:].tolist() == [8, 9, 10]
        assert sorted(found.tolist()) == list(range(11))


def test_evaluation_keeps_the_order_and_cuts_the_padding(texts: tuple[Tensor, ...]) -> None:
    ids, targets, lengths = texts
    order = lengths.argsort(stable=True)
    ids, targets, lengths = ids[order], targets[order], lengths[order]
    batches = list(TextEvalLoader(ids, targets, 50, to_int64, lengths=lengths))
    assert numbers(batches) == targets.tolist()
    for inputs, numbered in batches:
        assert ((inputs != 0).sum(1) == texts[2][numbered]).all()
    assert padding_fraction(lengths, [inputs.shape[1] for inputs, _ in batches], 50) < 0.3
    shares = [list(TextEvalLoader(ids, targets, 50, to_int64, rank, 2, lengths=lengths)) for rank in range(2)]
    again = [shares[number % 2][number // 2] for number in range(len(batches))]
    assert all(torch.equal(one[0], other[0]) for one, other in zip(batches, again, strict=True))
