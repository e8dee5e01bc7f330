"""How the training set is divided between clients."""

import pytest
import torch

from leyden.data.clients import NOBODY, FederatedLoader, chosen_clients, split_clients
from leyden.errors import UserError
from leyden.optim.federated import FedAvg
from tests.data.building import UNCHANGED, numbered

LABELS = torch.arange(10).repeat(60)  # 600 samples


def settings(split: str = "iid", num: int = 6, **others: float) -> FedAvg:
    values = {"rounds": 3, "fraction": 0.5, "local_epochs": 2, "shards": 2, "alpha": 0.5, **others}
    return FedAvg(num_clients=num, split=split, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("split", ["iid", "by_class", "dirichlet"])
def test_each_sample_has_one_client(split: str) -> None:
    clients = split_clients(settings(split), LABELS, True, 0)
    assert len(clients) == 6
    assert torch.equal(torch.cat(clients).sort().values, torch.arange(600))
    assert all(torch.equal(samples, samples.sort().values) for samples in clients)
    again, other = (split_clients(settings(split), LABELS, True, seed) for seed in (0, 1))
    assert all(torch.equal(one, two) for one, two in zip(clients, again, strict=True))
    assert any(one.tolist() != two.tolist() for one, two in zip(clients, other, strict=True))


def test_classes_per_client() -> None:
    found = {}
    for split, others in (("iid", {}), ("by_class", {}), ("dirichlet", {"alpha": 100.0})):
        clients = split_clients(settings(split, 5, **others), LABELS, True, 0)
        found[split] = [len(LABELS[samples].unique()) for samples in clients]
        if split != "dirichlet":
            assert {len(samples) for samples in clients} == {120}
    assert found["iid"] == found["dirichlet"] == [10] * 5
    assert max(found["by_class"]) == 2


def test_the_size_of_the_parts_follows_alpha() -> None:
    near, far = (split_clients(settings("dirichlet", 5, alpha=alpha), LABELS, True, 0) for alpha in (1000.0, 0.3))
    spread = [torch.tensor([len(samples) for samples in one]).double().std() for one in (near, far)]
    assert spread[0] < 10 < spread[1]


def test_targets_without_classes_are_divided_at_random_only() -> None:
    targets = torch.rand(600, 1)
    assert len(split_clients(settings(), targets, False, 0)) == 6
    with pytest.raises(UserError, match=r"^federated.split: got by_class, but these targets are no classes; use iid"):
        split_clients(settings("by_class"), targets, False, 0)


def test_a_round_is_the_batches_of_its_clients_and_starts_anywhere() -> None:
    inputs, targets = numbered(50)
    options = settings(num=7)
    clients = split_clients(options, targets, False, 0)

    def batches(number: int, steps_done: int = 0) -> list[tuple[int, list[int], bool, bool]]:
        loader = FederatedLoader(
            inputs, targets, clients, options, 3, UNCHANGED, lambda *samples: None, 0, lambda: (number, 3 * steps_done)
        )
        found = [(one.client, one[1].tolist(), one.is_first, one.is_last) for one in loader]  # type: ignore[attr-defined]
        assert len(loader) == len(found) + steps_done
        return found

    whole = batches(1)
    assert [batches(1, done) for done in range(len(whole))] == [whole[done:] for done in range(len(whole))]
    assert sorted({client for client, *_ in whole}) == chosen_clients(options, 0, 1)
    for client in chosen_clients(options, 0, 1):
        seen = [number for one, numbers, _, _ in whole if one == client for number in numbers]
        assert set(seen) <= set(clients[client].tolist())
        assert sum(is_first for one, _, is_first, _ in whole if one == client) == 1
        assert sum(is_last for one, _, _, is_last in whole if one == client) == 1
    chosen = [chosen_clients(options, 0, number) for number in range(20)]
    assert {len(one) for one in chosen} == {4}
    assert len({tuple(one) for one in chosen}) > 5


def test_a_private_round_can_have_no_clients() -> None:
    options = settings(num=3, fraction=0.2)
    options.poisson = True
    chosen = [chosen_clients(options, 0, number) for number in range(300)]
    assert sum(map(len, chosen)) / 900 == pytest.approx(0.2, abs=0.05)
    empty = chosen.index([])
    inputs, targets = numbered(30)
    clients = split_clients(options, targets, False, 0)
    loader = FederatedLoader(
        inputs, targets, clients, options, 3, UNCHANGED, lambda *samples: None, 0, lambda: (empty, 0)
    )
    (batch,) = loader
    assert len(loader) == 1
    assert batch.client == NOBODY  # type: ignore[attr-defined]
    assert not batch[0].any()
