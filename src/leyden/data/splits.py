"""Stratified splits: every class is divided in the same proportion, at random by seed.

Published data sets never change: their splits have exact sizes, and depend on the number and order of the samples. Data
that can grow is split by a hash of each sample's identity: a new sample never changes the split of another one, except
that a class without any sample below the threshold gives the one with the smallest hash.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leyden.seeding import derive, generator


def ranks_in_class(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Rank the samples of each class at random.

    Args:
        labels: int64 (N,), each >= 0.
        seed: seed of the ranking.

    Returns:
        ranks: int64 (N,), 0 to the size of the class - 1.
        sizes: int64 (N,), size of the class of each sample.
    """
    order = torch.randperm(len(labels), generator=generator(seed, "split"))
    by_class = order[torch.sort(labels[order], stable=True).indices]
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    ranks = torch.empty_like(labels)
    ranks[by_class] = torch.arange(len(labels)) - starts[labels[by_class]]
    return ranks, counts[labels]


def fraction(labels: Tensor, part: float, seed: int) -> Tensor:
    """Choose the random fraction `part` (0 to 1) of each class, bool (N,).

    If `part` is above 0, at least one sample of each class is chosen.
    """
    ranks, sizes = ranks_in_class(labels, seed)
    keep = (sizes * part).round()
    return ranks < (keep.clamp(min=1) if part > 0 else keep)


def number(labels: Tensor, num: int, seed: int, *, equal: bool) -> Tensor:
    """Choose `num` samples at random, at least one of each class, bool (N,). A larger number adds to a smaller one.

    Args:
        labels: int64 (N,), each >= 0.
        num: from the number of classes that occur to N.
        seed: seed of the choice.
        equal: whether each class gives the same number (±1), as far as it has so many; otherwise in proportion.
    """
    ranks, sizes = ranks_in_class(labels, seed)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    # In proportion: the sample of rank r of a class with n samples has the place (r + 1/2) / n, after all first ones.
    places = ranks.double() if equal else torch.where(ranks == 0, -1.0, (ranks + 0.5) / sizes)
    chosen[places.argsort(stable=True)[:num]] = True
    return chosen


def fold(labels: Tensor, num_folds: int, index: int, seed: int) -> Tensor:
    """Choose the samples of fold `index`, bool (N,). The folds are disjoint and cover all samples."""
    ranks, _ = ranks_in_class(labels, seed)
    return ranks % num_folds == index


def identities(names: Sequence[bytes]) -> Tensor:
    """Return a hash of each sample's name, int64 (N,). The name must not change when samples are added."""
    digests = b"".join(blake2b(name, digest_size=8).digest() for name in names)
    return torch.from_numpy(np.frombuffer(digests, dtype="<i8").astype(np.int64))


def hashed_fraction(ids: Tensor, labels: Tensor, part: float, seed: int, purpose: str) -> Tensor:
    """Choose about the fraction `part` of each class by hash, bool (N,). At least one sample of each class.

    Args:
        ids: int64 (N,), see `identities`.
        labels: int64 (N,).
        part: the fraction to choose, 0 to 1.
        seed: seed of the hash.
        purpose: purpose of the choice. Choices for different purposes are independent of each other.
    """
    values = torch.from_numpy(_uniform(ids, seed, purpose))
    chosen = values < part
    for label in sorted(set(labels[~chosen].tolist())):
        members = (labels == label).nonzero().flatten()
        if not chosen[members].any():
            chosen[members[values[members].argmin()]] = True
    return chosen


def hashed_fold(ids: Tensor, num_folds: int, index: int, seed: int) -> Tensor:
    """Choose the samples of fold `index` by hash, bool (N,). The folds are disjoint and cover all samples."""
    return torch.from_numpy(np.floor(_uniform(ids, seed, "fold") * num_folds) == index)


def _uniform(ids: Tensor, seed: int, purpose: str) -> NDArray[np.float64]:
    """Return a number from 0 to 1 for each identity: SplitMix64 (Steele, Lea and Flood, 2014) of identity and seed."""
    mixed = ids.numpy().view(np.uint64) ^ np.uint64(derive(seed, "split", purpose))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) / 2.0**53
