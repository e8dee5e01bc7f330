"""Batches for differentially private training."""

import torch

from leyden.data.loaders import start_of_training
from leyden.data.poisson import EmptyBatch, PoissonLoader
from leyden.seeding import secure_normal, secure_uniform
from tests.data.building import UNCHANGED, numbered


def loader(num: int, batch_size: int, position: tuple[int, int] = (0, 0), seed: int | None = 0) -> PoissonLoader:
    return PoissonLoader(*numbered(num), batch_size, UNCHANGED, None, seed, lambda: position)


def drawn(one: PoissonLoader) -> list[list[int]]:
    return [[] if isinstance(batch, EmptyBatch) else batch[1].tolist() for batch in one]


def test_each_sample_is_in_a_batch_with_the_same_probability() -> None:
    batches = [batch for epoch in range(200) for batch in drawn(loader(40, 8, (epoch, 0)))]
    assert len(batches) == 200 * 5
    counts = torch.bincount(torch.tensor([number for batch in batches for number in batch]), minlength=40)
    assert (counts / len(batches) - 0.2).abs().max() < 5 * (0.2 * 0.8 / len(batches)) ** 0.5
    sizes = torch.tensor([len(batch) for batch in batches], dtype=torch.float64)
    assert abs(float(sizes.var()) - 40 * 0.2 * 0.8) < 1.5  # independent of each other
    assert all(batch == sorted(set(batch)) for batch in batches)


def test_an_epoch_can_be_resumed_at_any_step() -> None:
    whole = drawn(loader(40, 8, (3, 0)))
    assert drawn(loader(40, 8, (3, 16))) == whole[2:]
    assert drawn(loader(40, 8, (4, 0))) != whole


def test_an_empty_batch_has_one_made_up_sample() -> None:
    batches = [*loader(50, 1, start_of_training())]
    empty = [batch for batch in batches if isinstance(batch, EmptyBatch)]
    assert 5 < len(empty) < 35
    assert all(inputs.shape == (1, 1, 4, 4) and not inputs.any() for inputs, _ in empty)


def test_secure_numbers_have_their_distributions() -> None:
    uniform, normal = secure_uniform(100_000), secure_normal(100_000)
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) < 1
    assert abs(float(uniform.mean()) - 0.5) < 0.01
    assert abs(float(normal.mean())) < 0.02
    assert abs(float(normal.var()) - 1) < 0.03
    assert abs(float((normal**4).mean()) - 3) < 0.3
    assert not torch.equal(secure_uniform(5), secure_uniform(5))
    assert drawn(loader(40, 8, seed=None)) != drawn(loader(40, 8, seed=None))
