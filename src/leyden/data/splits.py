"""Stratified splits: every class is divided in the same proportion, at random by seed."""

import torch
from torch import Tensor

from leyden.seeding import generator


def ranks_in_class(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Rank the samples of each class at random.

    Args:
        labels: int64 (N,), each >= 0.
        seed: of the ranking.

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
    """Choose a random `part` (0 to 1) of each class, bool (N,). At least one sample of each class if part > 0."""
    ranks, sizes = ranks_in_class(labels, seed)
    keep = (sizes * part).round()
    return ranks < (keep.clamp(min=1) if part > 0 else keep)


def fold(labels: Tensor, num_folds: int, index: int, seed: int) -> Tensor:
    """Choose the samples of fold `index`, bool (N,). The folds are disjoint and cover all samples."""
    ranks, _ = ranks_in_class(labels, seed)
    return ranks % num_folds == index
