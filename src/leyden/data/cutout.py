"""Cutout: a random square of each training image is filled with the mean colour (DeVries and Taylor, 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from leyden.data.loaders import Augment, Batch


class Cutout:
    """Fill a square of each image that `augment` makes. Its centre is random; it is cut off at the borders.

    Args:
        augment: makes the images, uint8 or float (B, C, H, W), 0 to 255.
        size: side of the square in pixels.
        shape: (C, H, W) of an image.
        mean: mean of each channel, 0 to 1.
        device: device of the batches.
    """

    def __init__(
        self, augment: Augment, size: int, shape: Sequence[int], mean: Sequence[float], device: torch.device
    ) -> None:
        self.augment, self.size = augment, size
        _, self.height, self.width = shape
        self.rows, self.columns = (torch.arange(side, device=device) for side in shape[1:])
        self.colour = torch.tensor(mean, device=device).mul(255).round().view(-1, 1, 1)  # (C, 1, 1)

    def draw(self, num: int, rng: torch.Generator, epoch: int = 0) -> tuple[Tensor, ...]:
        """Draw the numbers of `augment`, then the centres of the squares, (num, 1) each."""
        inner = self.augment.draw(num, rng, epoch)
        centres = (torch.randint(side, (num, 1), generator=rng) for side in (self.height, self.width))
        return *inner, *centres

    def __call__(self, index: Tensor, *draws: Tensor) -> Batch:
        *inner, row, column = draws
        images, targets = self.augment(index, *inner)
        inside_rows, inside_columns = self._inside(self.rows, row), self._inside(self.columns, column)
        inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]  # (B, 1, H, W)
        return torch.where(inside, self.colour.to(images.dtype), images), targets

    def _inside(self, positions: Tensor, centre: Tensor) -> Tensor:
        """Return which positions the square covers, bool (B, side)."""
        start = centre - self.size // 2  # (B, 1)
        return (positions >= start) & (positions < start + self.size)
