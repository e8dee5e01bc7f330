"""Digit strings: a number of one to four handwritten digits in one picture, to be written down from left to right."""

from typing import Any

import torch
from torch import Tensor

from leyden.data.composed import SIDE, ComposedData
from leyden.data.datamodule import check


class DigitStrings(ComposedData):
    """Targets are int64 (N, max_digits + 1): the digits, then `num_classes` for the end, then -1.

    Args: as `ComposedData`, and

    spacing: from one digit's left edge to the next one's, in pixels.
    jitter: by how much the spacing differs from place to place, in pixels.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, spacing: int = 24, jitter: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check(0 <= jitter <= spacing, f"jitter: got {jitter}, must be between 0 and the spacing, {spacing} pixels")
        widest = SIDE + (self.max_digits - 1) * (spacing + jitter)
        fits = self.shape[1] >= SIDE and self.shape[2] >= widest
        check(fits, f"shape: got {list(self.shape)}, but {self.max_digits} digits need {SIDE} rows, {widest} columns")
        self.spacing, self.jitter, self.room = spacing, jitter, (self.shape[1] - SIDE, self.shape[2] - widest)

    def corners(self, num: int, rng: torch.Generator) -> Tensor:
        top = torch.randint(0, self.room[0] + 1, (num, self.max_digits), generator=rng)
        start = torch.randint(0, self.room[1] + 1, (num, 1), generator=rng)
        between = (num, self.max_digits - 1)
        steps = self.spacing + torch.randint(-self.jitter, self.jitter + 1, between, generator=rng)
        left = torch.cat([start, steps], 1).cumsum(1)  # (num, K)
        return torch.stack([top, left], 2)

    def classes_in(self, targets: Tensor) -> Tensor:
        return self.digits_in(targets.where(targets < self.num_classes, -1))

    def targets(self, digits: Tensor) -> Tensor:
        places = torch.arange(self.max_digits + 1, device=digits.device)
        count = (digits >= 0).sum(1, keepdim=True)
        ended = torch.where(places == count, self.num_classes, -1)  # (B, K + 1)
        ended[:, :-1] = torch.where(digits >= 0, digits, ended[:, :-1])
        return ended
