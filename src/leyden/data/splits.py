"""Stratified splits: every class is divided in the same proportion, by seed."""

import torch
from torch import Tensor

from leyden.seeding import generator


def ranks_in_class(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """A random ranking of each class's samples among themselves.

    Args:
        labels: int64 (N,), each >= 0.
        seed: of the ranking.

    Returns:
        ranks: int64 (N,), from 0 to its class's size - 1.
        sizes: int64 (N,), the size of each sample's class.
    """
    order = torch.randperm(len(labels), generator=generator(seed, "split"))
    by_class = order[torch.sort(labels[order], stable=True).indices]
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    ranks = torch.empty_like(labels)
    ranks[by_class] = torch.arange(len(labels)) - starts[labels[by_class]]
    return ranks, counts[labels]


def fraction(labels: Tensor, part: float, seed: int) -> Tensor:
    """Bool (N,): a random `part` (0 to 1) of each class, at least one sample of it where part > 0."""
    ranks, sizes = ranks_in_class(labels, seed)
    keep = (sizes * part).round()
    return ranks < (keep.clamp(min=1) if part > 0 else keep)


def fold(labels: Tensor, num_folds: int, index: int, seed: int) -> Tensor:
    """Bool (N,): the samples of fold `index`; the folds are disjoint and cover all samples."""
    ranks, _ = ranks_in_class(labels, seed)
    return ranks % num_folds == index
