"""Loaders of texts: batches of texts of similar length, without the padding that no text of the batch needs.

The order of an epoch is a function of (seed, epoch): a random permutation is cut into pools of `POOL` batches, each
pool is sorted by length and cut into batches, and the batches are shuffled. So the texts of a batch have about the same
length, but batches differ from epoch to epoch. Lengths are known on the CPU, so nothing is read from the device.

Pairs of texts have two lengths. They are sorted by the length of the target, and those with the same by the length of
the source. A pool of them is larger, so that both lengths are similar in a batch.

    N  texts of an epoch        G  texts of a batch on all processes together        T  tokens
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from leyden.data.loaders import Batch, EvalLoader, TrainLoader
from leyden.seeding import generator

POOL = 50  # batches
PAIRS_POOL = 300  # batches of pairs
MULTIPLE = 8  # of tokens: fewer different shapes, each of which costs a device time at first; see `rounded_up`


class TextTrainLoader(TrainLoader):
    """Shuffled batches of texts of similar length.

    With several processes, all together use the same texts as one process with a larger batch. With several seeds, a
    batch contains `batch_size` texts for each of them, see `TrainLoader`.

    Args:
        inputs: integers (N, T), token ids with padding 0 at the end.
        targets: (N, ...).
        batch_size, transform, arguments: see `TrainLoader`.
        lengths: int64 (N,) on the CPU, tokens of each text.
        target_lengths: int64 (N,) on the CPU, tokens of each target, if the targets are texts, (N, T).

    Yields:
        transformed inputs (B, T of the longest text), targets (B, ...) or (B, T of the longest target)
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        batch_size: int,
        transform: Callable[[Tensor], Tensor],
        *,
        lengths: Tensor,
        target_lengths: Tensor | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(inputs, targets, batch_size, transform, **arguments)
        self.inputs, self.lengths, self.target_lengths = inputs, lengths, target_lengths

    def __iter__(self) -> Iterator[Batch]:
        epoch, samples_done = self.position()
        orders, widths, target_widths = self.plan(epoch)
        shard = orders[:, self.rank :: self.world].to(self.targets.device)  # (S, N / world)
        for number in range(samples_done // (self.batch_size * self.world), len(self)):
            index = shard[:, number * self.batch_size : (number + 1) * self.batch_size].flatten()
            tokens = self.inputs[:, : widths[number]].index_select(0, index)
            targets = self.targets if target_widths is None else self.targets[:, : target_widths[number]]
            yield self.transform(tokens), targets[index]

    def plan(self, epoch: int) -> tuple[Tensor, Sequence[int], Sequence[int] | None]:
        """Return the order of an epoch for each seed, int64 (S, N), and the tokens of each batch. Works on the CPU.

        The third value are the tokens of the targets of each batch, or None if the targets are no texts.
        """
        num = len(self.lengths) - len(self.lengths) % self.world
        size = self.batch_size * self.world
        pool, keys = POOL, self.lengths
        if self.target_lengths is not None:
            pool, keys = PAIRS_POOL, self.target_lengths * (self.inputs.shape[1] + 1) + self.lengths
        orders = torch.stack([
            bucketed(torch.randperm(len(self.lengths), generator=generator(seed, "order", epoch)),
                     keys, size, generator(seed, "batches", epoch), pool)[:num]
            for seed in self.seeds
        ])  # fmt: skip
        target_widths = None
        if self.target_lengths is not None:
            target_widths = longest(self.target_lengths[orders].amax(0), size, self.targets.shape[1])
        return orders, longest(self.lengths[orders].amax(0), size, self.inputs.shape[1]), target_widths


class TextEvalLoader(EvalLoader):
    """All texts in order, in batches without the padding that no text of the batch needs.

    Args:
        inputs, targets, batch_size, transform, rank, world: see `EvalLoader`; the texts should be sorted by length.
        lengths, target_lengths: see `TextTrainLoader`.

    Yields:
        transformed inputs (B, T of the longest text), targets (B, ...) or (B, T of the longest target)
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        batch_size: int,
        transform: Callable[[Tensor], Tensor],
        rank: int = 0,
        world: int = 1,
        *,
        lengths: Tensor,
        target_lengths: Tensor | None = None,
    ) -> None:
        super().__init__(inputs, targets, batch_size, transform, rank, world)
        self.widths = longest(lengths, self.batch_size, inputs.shape[1])
        self.target_widths: Sequence[int] | None = None
        if target_lengths is not None:
            self.target_widths = longest(target_lengths, self.batch_size, targets.shape[1])

    def __iter__(self) -> Iterator[Batch]:
        for start in self.starts:
            batch = slice(start, start + self.batch_size)
            number = start // self.batch_size
            targets = self.targets if self.target_widths is None else self.targets[:, : self.target_widths[number]]
            yield self.transform(self.inputs[batch, : self.widths[number]]), targets[batch]


def bucketed(order: Tensor, lengths: Tensor, size: int, rng: torch.Generator, pool: int = POOL) -> Tensor:
    """Return the samples of an epoch in another order, in which each batch has samples of similar length.

    Args:
        order: int64 (n,), the samples in random order.
        lengths: int64 (N,), tokens of each sample, or another number by which they are sorted.
        size: G. The n mod G samples of a smaller last batch stay the last ones.
        rng: shuffles the batches.
        pool: batches that are sorted together.
    """
    pools = [part[lengths[part].argsort(stable=True)] for part in torch.split(order, pool * size)]
    in_pools = torch.cat(pools)
    full = len(order) // size
    batches = in_pools[: full * size].view(full, size)[torch.randperm(full, generator=rng)]
    return torch.cat((batches.flatten(), in_pools[full * size :]))


def longest(lengths: Tensor, size: int, most: int) -> Sequence[int]:
    """Return the number of tokens that each batch needs: of its longest text, rounded up, see `rounded_up`.

    Args:
        lengths: int64 (N,), tokens of each sample in the order of the batches.
        size: samples per batch.
        most: number of tokens that are stored.
    """
    return [min(most, rounded_up(int(batch.max()))) for batch in torch.split(lengths, size)]


def rounded_up(num: int) -> int:
    """Round a number of tokens up to a multiple of 1 (up to 16), of 2 (up to 32), of 4 (up to 64) or of `MULTIPLE`."""
    multiple = min(MULTIPLE, 1 << max(0, (num - 1).bit_length() - 4))
    return -(-num // multiple) * multiple


def padding_fraction(lengths: Tensor, widths: Sequence[int], size: int) -> float:
    """Return which fraction of the tokens of an epoch is padding, 0 to 1. The arguments are those of `longest`."""
    tokens = sum(width * len(batch) for width, batch in zip(widths, torch.split(lengths, size), strict=True))
    return 1 - float(lengths.sum()) / tokens
