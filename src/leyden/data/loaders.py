"""Loaders that index, augment and transform a whole batch at once, on the device that trains.

A `DataLoader` does Python work per sample; these do it per batch. Which samples a batch holds and
how they are augmented follow from (seed, epoch, position), so a run can be taken up at any batch.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from leyden.seeding import derive, generator

Batch = tuple[Tensor, Tensor]
Augment = Callable[[Tensor, torch.Generator], Batch]
"""Training samples at an index, int64 (B,), on the training device, changed or drawn at random by the generator."""


class Normalise:
    """uint8 pixels → float32 with `mean` 0 and `std` 1 over the training set.

    Args:
        mean: of each channel, in units of the full range (0 to 1).
        std: likewise.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        middle = torch.tensor(mean, device=device).view(-1, 1, 1)  # (C, 1, 1)
        spread = torch.tensor(std, device=device).view(-1, 1, 1)  # (C, 1, 1)
        self.scale, self.offset = 1 / (255 * spread), -middle / spread

    def __call__(self, pixels: Tensor) -> Tensor:
        return pixels.float().mul_(self.scale).add_(self.offset)  # (B, C, H, W)


class ShiftAndFlip:
    """Random translation by up to `shift` pixels, the border mirrored into the gap, and a random left-right mirror.

    The images are padded once; a batch is then two gathers, first of rows, then of columns. Of six
    ways tried this was the fastest (360,000 3x32x32 images/s on 2 cores; one flat index 210,000).

    Args:
        images: uint8 (N, C, H, W), on the device that trains.
        shift: largest translation in pixels, both ways.
        flip: whether to mirror half of the images.
    """

    def __init__(self, images: Tensor, shift: int, flip: bool) -> None:
        _, self.channels, self.height, self.width = images.shape
        self.shift, self.flip = shift, flip
        self.padded = pad(images, (shift, shift, shift, shift), mode="reflect")  # (N, C, H + 2s, W + 2s)
        device = images.device
        offsets = torch.arange(self.channels, device=device)[:, None] * self.padded.shape[2]
        self.rows = (offsets + torch.arange(self.height, device=device)).view(1, -1)  # (1, C * H)
        self.columns = torch.arange(self.width, device=device)  # (W,)

    def __call__(self, index: Tensor, rng: torch.Generator) -> Tensor:
        """The images at `index`, int64 (B,), each with a translation and mirroring of its own."""
        num, device = len(index), index.device
        draws = torch.randint(0, 2 * self.shift + 1, (2, num, 1), generator=rng).to(device)
        mirror = torch.rand((num, 1), generator=rng).to(device) < (0.5 if self.flip else 0.0)
        rows = index[:, None] * (self.channels * self.padded.shape[2]) + draws[0] + self.rows  # (B, C * H)
        columns = draws[1] + torch.where(mirror, self.columns.flip(0), self.columns)  # (B, W)
        lines = self.padded.view(-1, self.padded.shape[3]).index_select(0, rows.view(-1))
        lines = lines.view(num, -1, self.padded.shape[3])  # (B, C * H, W + 2s)
        pixels = lines.gather(2, columns[:, None].expand(-1, lines.shape[1], -1))
        return pixels.view(num, self.channels, self.height, self.width)


class TrainLoader:
    """Shuffled batches of a training set; `rank` of `world` processes gets a share disjoint from the others'.

    All shares are of one size, so that no process waits for a batch that another does not have; at
    most ``world - 1`` samples sit out an epoch, others each time.

    Args:
        inputs: (N, ...), such as uint8 images.
        targets: (N, ...), such as int64 labels.
        transform: of a batch's inputs, such as `Normalise`.
        augment: draws a batch of untransformed inputs and targets, if they are not to be taken as they are.
        position: tells (epoch, first batch) when an iteration starts.

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
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        position: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        self.inputs, self.targets, self.batch_size, self.transform = inputs, targets, batch_size, transform
        self.augment = augment
        self.seed, self.rank, self.world, self.position = seed, rank, world, position

    def __len__(self) -> int:
        full, rest = divmod(len(self.targets) // self.world, self.batch_size)
        return full + (rest > 1 or not full)  # batch norm cannot train on a batch of one

    def __iter__(self) -> Iterator[Batch]:
        epoch, first = self.position()
        order = torch.randperm(len(self.targets), generator=generator(self.seed, "order", epoch))
        share = order[: len(order) - len(order) % self.world][self.rank :: self.world].to(self.targets.device)
        rng = torch.Generator()
        for number in range(first, len(self)):
            index = share[number * self.batch_size : (number + 1) * self.batch_size]
            if self.augment:
                rng.manual_seed(derive(self.seed, "augment", epoch, number, self.rank))
                inputs, targets = self.augment(index, rng)
            else:
                inputs, targets = self.inputs.index_select(0, index), self.targets[index]
            yield self.transform(inputs), targets


class EvalLoader:
    """All samples in order, cut into batches of which `rank` of `world` processes gets every `world`-th.

    Where the set is cut does not depend on `world`: each sample meets the same neighbours in the same
    kernels, so that its output has the same bits on one process and on many.

    Args and yields: as `TrainLoader`.
    """

    MIN_BATCHES = 16  # also a small set has a batch for each process

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
