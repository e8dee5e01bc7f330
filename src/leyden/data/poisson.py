"""Batches for differentially private training: each sample is in each batch with the same probability."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from leyden.data.loaders import Augment, Batch, Unchanged
from leyden.seeding import generator, secure_uniform


class EmptyBatch(tuple[Tensor, Tensor]):
    """Stands for a batch without samples. It holds one made-up sample, so that a net can compute something."""


class PoissonLoader:
    """Batches of different size: a step uses each sample with probability `batch_size` / N, independently.

    Samples and augmentation are functions of (seed, epoch, step), so a run can resume at any step.

    Args:
        inputs: (N, ...), for example uint8 images.
        targets: (N, ...), for example int64 labels.
        batch_size: expected number of samples of a batch, at most N.
        transform: function that is applied to the inputs of each batch.
        augment: makes a batch with random changes, before `transform`. None: the samples are used unchanged.
        seed: seed of the samples and of the augmentation. None: the samples come from the system's secure generator,
            and differ whenever an epoch is repeated.
        position: called when an iteration starts; returns (epoch, expected number of samples of it that were used).

    Yields:
        transformed inputs (B, ...), targets (B, ...); B differs. An `EmptyBatch` if no sample was drawn.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        batch_size: int,
        transform: Callable[[Tensor], Tensor],
        augment: Augment | None,
        seed: int | None,
        position: Callable[[], tuple[int, int]],
    ) -> None:
        self.example = inputs[:1]
        self.targets, self.batch_size, self.transform = targets, batch_size, transform
        self.augment = augment or Unchanged(inputs, targets)
        self.seed, self.position = seed, position

    @property
    def sample_rate(self) -> float:
        """Probability with which a step uses a sample."""
        return self.batch_size / len(self.targets)

    def __len__(self) -> int:
        return max(1, round(1 / self.sample_rate))

    def __iter__(self) -> Iterator[Batch]:
        epoch, samples_done = self.position()
        for step in range(samples_done // self.batch_size, len(self)):
            index = (self._uniform(epoch, step) < self.sample_rate).nonzero().flatten()
            if not len(index):
                yield EmptyBatch((self.transform(torch.zeros_like(self.example)), torch.zeros_like(self.targets[:1])))
                continue
            draws = self.augment.draw(len(index), generator(self.seed or 0, "augment", epoch, step), epoch)
            device = self.targets.device
            inputs, targets = self.augment(index.to(device), *(numbers.to(device) for numbers in draws))
            yield self.transform(inputs), targets

    def _uniform(self, epoch: int, step: int) -> Tensor:
        """Return a number from 0 to 1 for each sample, float64 (N,), on the CPU."""
        if self.seed is None:
            return secure_uniform(len(self.targets))
        rng = generator(self.seed, "poisson", epoch, step)
        return torch.rand(len(self.targets), generator=rng, dtype=torch.float64)
