"""The clients of a federated training: which samples each has, and the batches of a round.

N  training samples          K  clients
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.distributions import Dirichlet

from leyden.data.loaders import Augment, Batch, TrainLoader
from leyden.errors import UserError
from leyden.optim.federated import FedAvg
from leyden.seeding import derive, generator

NOBODY = -1  # the client of a made-up batch
BuildAugment = Callable[[Tensor, Tensor], Augment | None]


class ClientBatch(tuple[Tensor, Tensor]):
    """A batch of one client.

    Attributes:
        client: number of the client.
        num_samples: number of samples that it has.
        is_first, is_last: whether its training in this round begins or ends with this batch.
    """

    client: int
    num_samples: int
    is_first: bool
    is_last: bool


def split_clients(settings: FedAvg, targets: Tensor, has_classes: bool, seed: int) -> list[Tensor]:
    """Return the samples of each client, int64 (N_k,) in ascending order. Each sample has one client.

    iid: at random, in equal parts (±1). by_class: the samples are sorted by their class and divided into K · shards
    parts (±1), of which each client gets `shards` at random (McMahan et al., 2017). dirichlet: the samples of each
    class are divided in proportions from a symmetric Dirichlet distribution (Yurochkin et al., 2019).

    Args:
        settings: the number of clients and the kind of split.
        targets: (N, ...)
        has_classes: whether the targets are class labels, int64 (N,).
        seed: of the split.

    Raises:
        UserError: a client has no samples, or the targets have no classes to split by.
    """
    num, targets, rng = settings.num_clients, targets.cpu(), generator(seed, "clients")
    parts = num * (settings.shards if settings.split == "by_class" else 1)
    if parts > len(targets):
        shards = f" with {settings.shards} shards each" if settings.split == "by_class" else ""
        raise UserError(
            f"federated.num_clients: got {num} clients{shards}, but there are only {len(targets)} training samples"
        )
    if settings.split != "iid" and not has_classes:
        raise UserError(f"federated.split: got {settings.split}, but these targets are no classes; use iid")
    if settings.split == "dirichlet":
        clients = _dirichlet(targets, num, settings.alpha, seed)
    else:
        clients = _shards(targets if settings.split == "by_class" else None, len(targets), parts, num, rng)
    empty = [number for number, samples in enumerate(clients) if not len(samples)]
    if empty:
        raise UserError(
            f"federated.alpha: got {settings.alpha}, which leaves client {empty[0]} without samples; use a larger "
            "federated.alpha or a smaller federated.num_clients"
        )
    return [samples.sort().values for samples in clients]


def _shards(classes: Tensor | None, num: int, parts: int, num_clients: int, rng: torch.Generator) -> list[Tensor]:
    """Divide `num` samples into `parts`, after sorting them by their classes, if given; deal the parts to clients."""
    order = torch.randperm(num, generator=rng)
    if classes is not None:
        order = order[classes[order].argsort(stable=True)]
    dealt = torch.randperm(parts, generator=rng).view(num_clients, -1).tolist()
    shards = order.tensor_split(parts)
    return [torch.cat([shards[number] for number in own]) for own in dealt]


def _dirichlet(targets: Tensor, num: int, alpha: float, seed: int) -> list[Tensor]:
    found: list[list[Tensor]] = [[] for _ in range(num)]
    for label in torch.bincount(targets).nonzero().flatten().tolist():
        members = (targets == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator(seed, "dirichlet", label))]
        with torch.random.fork_rng(devices=[]):  # torch's distributions take no generator
            torch.default_generator.manual_seed(derive(seed, "proportions", label))
            shares = Dirichlet(torch.full((num,), alpha, dtype=torch.float64)).sample()
        ends = (shares.cumsum(0)[:-1] * len(members)).round().long()
        for own, part in zip(found, members.tensor_split(ends), strict=True):
            own.append(part)
    return [torch.cat(parts) for parts in found]


def chosen_clients(settings: FedAvg, seed: int, number: int) -> list[int]:
    """Return the clients that train in the round `number`, in ascending order.

    In a private training each is chosen with the probability `fraction`, so there can be none.
    """
    if settings.poisson:
        drawn = torch.rand(settings.num_clients, generator=generator(seed, "round", number), dtype=torch.float64)
        return [int(client) for client in (drawn < settings.fraction).nonzero().flatten()]
    count = max(1, round(settings.fraction * settings.num_clients))
    order = torch.randperm(settings.num_clients, generator=generator(seed, "round", number))
    return sorted(order[:count].tolist())


class FederatedLoader:
    """The batches of a round: those of one chosen client after the other.

    Client k draws its samples like a run with ``seed=seed+k`` on its samples alone. So a run can resume at any batch.

    Args:
        inputs, targets: (N, ...), the training set.
        clients: the samples of each client, int64 (N_k,).
        settings: says which clients train, and how long.
        batch_size: samples per batch of a client.
        transform: function that is applied to the inputs of each batch.
        augmentation: the samples of a client → what changes them at random.
        seed: of the choice of clients, and of client 0.
        position: returns (round, steps of it that were done times `batch_size`).

    Yields:
        `ClientBatch`: transformed inputs (B, ...), targets (B, ...)
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        clients: Sequence[Tensor],
        settings: FedAvg,
        batch_size: int,
        transform: Callable[[Tensor], Tensor],
        augmentation: BuildAugment,
        seed: int,
        position: Callable[[], tuple[int, int]],
    ) -> None:
        self.inputs, self.targets, self.clients, self.settings = inputs, targets, clients, settings
        self.batch_size, self.transform, self.augmentation = batch_size, transform, augmentation
        self.seed, self.position = seed, position
        self.round = position()[0]  # the Trainer makes a new loader for each round, because its length differs
        self.chosen = chosen_clients(settings, seed, self.round)

    def __len__(self) -> int:
        return max(1, sum(self._num_steps(client) for client in self.chosen))

    def _num_steps(self, client: int) -> int:
        return self.settings.local_epochs * self._steps_per_epoch(client)

    def _steps_per_epoch(self, client: int) -> int:
        full, rest = divmod(len(self.clients[client]), self.batch_size)
        return full + (rest > 1 or not full)  # as in `TrainLoader`

    def __iter__(self) -> Iterator[Batch]:
        done = self.position()[1] // self.batch_size
        if not self.chosen:
            yield self._nobody()
        for client in self.chosen:
            steps = self._num_steps(client)
            if done < steps:
                yield from self._batches(client, done)
            done = max(0, done - steps)

    def _nobody(self) -> ClientBatch:
        """Return a made-up sample for a round without clients. What a net learns from it is not used."""
        batch = ClientBatch((self.transform(torch.zeros_like(self.inputs[:1])), torch.zeros_like(self.targets[:1])))
        batch.client, batch.num_samples, batch.is_first, batch.is_last = NOBODY, 0, True, True
        return batch

    def _batches(self, client: int, done: int) -> Iterator[Batch]:
        """Yield the batches of a client in this round, from step `done`."""
        samples = self.clients[client].to(self.targets.device)
        inputs, targets = self.inputs[samples], self.targets[samples]
        augment, per_epoch = self.augmentation(inputs, targets), self._steps_per_epoch(client)
        step, num_steps = done, self._num_steps(client)
        while step < num_steps:
            epoch, used = step // per_epoch, step % per_epoch * self.batch_size
            at = (self.round * self.settings.local_epochs + epoch, used)
            for pair in TrainLoader(
                inputs,
                targets,
                self.batch_size,
                self.transform,
                augment=augment,
                seeds=(self.seed + client,),
                position=lambda at=at: at,  # type: ignore[misc]
            ):
                batch = ClientBatch(pair)
                batch.client, batch.num_samples = client, len(samples)
                batch.is_first, batch.is_last = step == 0, step == num_steps - 1
                yield batch
                step += 1
