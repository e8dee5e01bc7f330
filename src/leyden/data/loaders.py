"""Loaders that index, augment and transform a whole batch at once, on the training device.

A `DataLoader` does Python work for each sample. These loaders do it for each batch. The samples of a batch and their
augmentation are functions of (seed, epoch, position in the epoch). Therefore a run can resume at any batch. The number
of processes does not matter: all processes together use the same samples as one process with a larger batch.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from leyden.seeding import generator

Batch = tuple[Tensor, Tensor]
Flip = bool | Literal["alternate"]


class Augment(Protocol):
    """Makes training batches with random changes, such as translations."""

    def draw(self, num: int, rng: torch.Generator, epoch: int = 0) -> tuple[Tensor, ...]:
        """Draw the random numbers for the `num` samples of an epoch, each (num, ...), on the CPU."""

    def __call__(self, index: Tensor, *draws: Tensor) -> Batch:
        """Return inputs and targets of the samples at `index`, int64 (B,), changed by their random numbers (B, ...)."""


def start_of_training() -> tuple[int, int]:
    """Return the position (epoch 0, no sample used yet)."""
    return 0, 0


class Normalise:
    """Normalise uint8 pixels to float32 with mean 0 and standard deviation 1 over the training set.

    Args:
        mean: mean of each channel, 0 to 1.
        std: standard deviation of each channel, on the same scale.
        device: device of the batches.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        middle = torch.tensor(mean, device=device).view(-1, 1, 1)  # (C, 1, 1)
        spread = torch.tensor(std, device=device).view(-1, 1, 1)  # (C, 1, 1)
        self.scale, self.offset = 1 / (255 * spread), -middle / spread

    def __call__(self, pixels: Tensor) -> Tensor:
        return pixels.float().mul_(self.scale).add_(self.offset)  # (B, C, H, W)


class Unchanged:
    """Use the samples as they are.

    Args:
        inputs: (N, ...), on the training device.
        targets: (N, ...), on the training device.
    """

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets

    def draw(self, num: int, rng: torch.Generator, epoch: int = 0) -> tuple[Tensor, ...]:
        """Return no random numbers: the samples are not changed."""
        return ()

    def __call__(self, index: Tensor, *draws: Tensor) -> Batch:
        return self.inputs.index_select(0, index), self.targets[index]


class ShiftAndFlip:
    """Translate images at random by up to `shift` pixels, and mirror them left to right.

    The border is filled by reflection. Each batch is indexed twice, by rows and then by columns. The indices are
    reflected at the border, so no padded copy of the images is needed.

    Args:
        images: uint8 (N, C, H, W), on the training device.
        targets: (N, ...), on the training device.
        shift: largest translation in pixels, in both directions, less than H and W.
        flip: whether to mirror each image with probability one half. alternate: in every other epoch, the first time
            at random (arXiv 2404.00498), so that two epochs in a row show each image both ways.
        seed: decides which images are mirrored in even epochs if `flip` is alternate.
    """

    def __init__(self, images: Tensor, targets: Tensor, shift: int, flip: Flip, seed: int = 0) -> None:
        _, self.channels, self.height, self.width = images.shape
        self.images, self.targets, self.shift, self.flip = images, targets, shift, flip
        self.rows, self.columns = (torch.arange(side, device=images.device) for side in images.shape[2:])
        self.offsets = torch.arange(self.channels, device=images.device)[:, None] * self.height  # (C, 1)
        self.in_even_epochs: Tensor | None = None  # bool (N, 1)
        if flip == "alternate":
            drawn = torch.rand((len(images), 1), generator=generator(seed, "alternate flip"))
            self.in_even_epochs = (drawn < 0.5).to(images.device)

    def draw(self, num: int, rng: torch.Generator, epoch: int = 0) -> tuple[Tensor, ...]:
        """Draw translations (num, 2) and which images to mirror (num, 1); for alternate, all in odd epochs."""
        if self.in_even_epochs is None:
            mirror = torch.rand((num, 1), generator=rng) < (0.5 if self.flip else 0.0)
        else:
            mirror = torch.full((num, 1), epoch % 2 == 1)
        return torch.randint(-self.shift, self.shift + 1, (num, 2), generator=rng), mirror

    def __call__(self, index: Tensor, *draws: Tensor) -> Batch:
        translation, mirror = draws
        num = len(index)
        if self.in_even_epochs is not None:
            mirror = mirror ^ self.in_even_epochs[index]
        rows = reflected(self.rows + translation[:, :1], self.height)  # (B, H)
        lines = index[:, None, None] * (self.channels * self.height) + self.offsets + rows[:, None]  # (B, C, H)
        columns = torch.where(mirror, self.columns.flip(0), self.columns)  # (B, W)
        columns = reflected(columns + translation[:, 1:], self.width)
        pixels = self.images.view(-1, self.width).index_select(0, lines.view(-1)).view(num, -1, self.width)
        pixels = pixels.gather(2, columns[:, None].expand(-1, pixels.shape[1], -1))  # (B, C * H, W)
        return pixels.view(num, self.channels, self.height, self.width), self.targets[index]


def reflected(positions: Tensor, size: int) -> Tensor:
    """Map positions from -size + 1 to 2 * size - 2 into 0 to size - 1 by reflection at both ends."""
    return (size - 1) - ((size - 1) - positions.abs()).abs()


class TrainLoader:
    """Shuffled batches of a training set. Each of `world` processes gets its own shard; the shards are disjoint.

    All shards have the same size, so that no process waits for a batch that another does not have. At most
    ``world - 1`` samples are left out of an epoch. They differ between epochs.

    Args:
        inputs: (N, ...), for example uint8 images.
        targets: (N, ...), for example int64 labels.
        batch_size: samples per batch and process.
        transform: function that is applied to the inputs of each batch, for example `Normalise`.
        augment: makes a batch with random changes, before `transform`. None: the samples are used unchanged.
        seeds: seeds of the order and of the augmentation. With several of them, a batch contains `batch_size` samples
            in the order of the first seed, then those of the second, and so on: a batch for each net of an ensemble.
        rank: number of this process.
        world: number of processes.
        position: called when an iteration starts; returns (epoch, samples of it that all processes have used).
        balance: int64 (N,), a class for each sample; each class then fills the same number of places of an epoch.

    Yields:
        transformed inputs (B, ...), targets (B, ...)
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        batch_size: int,
        transform: Callable[[Tensor], Tensor],
        *,
        augment: Augment | None = None,
        seeds: Sequence[int] = (0,),
        rank: int = 0,
        world: int = 1,
        position: Callable[[], tuple[int, int]] = start_of_training,
        balance: Tensor | None = None,
    ) -> None:
        self.balance = balance if balance is None else balance.cpu()
        # The inputs themselves are not kept: an augmentation may hold them in another form.
        self.targets, self.batch_size, self.transform = targets, batch_size, transform
        self.augment = augment or Unchanged(inputs, targets)
        self.seeds, self.rank, self.world, self.position = seeds, rank, world, position

    def __len__(self) -> int:
        full, rest = divmod(len(self.targets) // self.world, self.batch_size)
        return full + (rest > 1 or not full)  # batch norm cannot train on a batch of one

    def __iter__(self) -> Iterator[Batch]:
        epoch, samples_done = self.position()
        orders = [self._order(generator(seed, "order", epoch)) for seed in self.seeds]
        shard = torch.stack([self._shard(order) for order in orders])  # (S, n)
        # All random numbers of the epoch are drawn and copied to the device here: a copy in a step would block it.
        drawn = [self.augment.draw(len(self.targets), generator(seed, "augment", epoch), epoch) for seed in self.seeds]
        draws = [torch.stack([self._shard(part) for part in numbers]) for numbers in zip(*drawn, strict=True)]
        for number in range(samples_done // (self.batch_size * self.world), len(self)):
            batch = slice(number * self.batch_size, (number + 1) * self.batch_size)
            index, *numbers = (values[:, batch].flatten(0, 1) for values in (shard, *draws))
            inputs, targets = self.augment(index, *numbers)
            yield self.transform(inputs), targets

    def _order(self, rng: torch.Generator) -> Tensor:
        """Return the samples of an epoch, int64 (N,), on the CPU."""
        if self.balance is None:
            return torch.randperm(len(self.targets), generator=rng)
        return balanced_order(self.balance, rng)

    def _shard(self, values: Tensor) -> Tensor:
        """Return the shard of this process on the training device: every `world`-th value. Shards have equal sizes."""
        return values[: len(values) - len(values) % self.world][self.rank :: self.world].to(self.targets.device)


def balanced_order(classes: Tensor, rng: torch.Generator) -> Tensor:
    """Return N samples in random order, the same number of each class (±1).

    A class with too few samples repeats all of them equally often (±1); of one with too many, some are left out.

    Args:
        classes: int64 (N,)
        rng: draws the samples.
    """
    present = torch.bincount(classes).nonzero().flatten()
    full, rest = divmod(len(classes), len(present))
    extra = torch.randperm(len(present), generator=rng) < rest  # these classes get one sample more
    chosen = []
    for label, is_extra in zip(present.tolist(), extra.tolist(), strict=True):
        members = (classes == label).nonzero().flatten()
        num = full + is_extra
        rounds = [torch.randperm(len(members), generator=rng) for _ in range(-(-num // len(members)))]
        if rounds:
            chosen.append(members[torch.cat(rounds)[:num]])
    order = torch.cat(chosen)
    return order[torch.randperm(len(order), generator=rng)]


class EvalLoader:
    """All samples in order, in batches. Each of `world` processes gets every `world`-th batch.

    The batches do not depend on `world`: each sample is computed together with the same other samples, so its output
    has the same bits on one process and on several.

    Args:
        inputs: (N, ...), for example uint8 images.
        targets: (N, ...), for example int64 labels.
        batch_size: largest number of samples per batch.
        transform: function that is applied to the inputs of each batch, for example `Normalise`.
        rank: number of this process.
        world: number of processes.

    Yields:
        transformed inputs (B, ...), targets (B, ...)
    """

    MIN_BATCHES = 16  # so that each process gets a batch of a small set too

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        batch_size: int,
        transform: Callable[[Tensor], Tensor],
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.inputs, self.targets, self.transform = inputs, targets, transform
        size = min(batch_size, -(-len(targets) // self.MIN_BATCHES))
        self.starts = range(0, len(targets), size)[rank::world]
        self.batch_size = size

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Batch]:
        for start in self.starts:
            batch = slice(start, start + self.batch_size)
            yield self.transform(self.inputs[batch]), self.targets[batch]
