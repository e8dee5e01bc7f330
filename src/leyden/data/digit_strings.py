"""Digit strings: transcribe an image of one to four handwritten digits from left to right."""

from dataclasses import dataclass

import torch
from torch import Tensor

from leyden.data.composed import SIDE, MultiDigitData
from leyden.data.datamodule import check


@dataclass(kw_only=True, eq=False, repr=False)
class DigitStrings(MultiDigitData):
    """Digit strings: images of several digits in a row, with the sequence of digits as the target.

    Targets are int64 (N, max_digits + 1): the digits, then `num_classes` as the end symbol, then -1 as padding.

    Args:
        spacing: distance from the left edge of a digit to that of the next digit, in pixels.
        jitter: largest random change of the spacing, in pixels.
    """

    target_kind = "symbols"

    spacing: int
    jitter: int

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range = 0 <= self.jitter <= self.spacing
        check(in_range, f"jitter: got {self.jitter}, must be between 0 and the spacing, {self.spacing} pixels")
        widest = SIDE + (self.max_digits - 1) * (self.spacing + self.jitter)
        check(
            self.shape[1] >= SIDE and self.shape[2] >= widest,
            f"shape: got {list(self.shape)}, but {self.max_digits} digits need {SIDE} rows and {widest} columns",
        )
        self.room = (self.shape[1] - SIDE, self.shape[2] - widest)

    def corners(self, num: int, rng: torch.Generator) -> Tensor:
        top = torch.randint(0, self.room[0] + 1, (num, self.max_digits), generator=rng)
        start = torch.randint(0, self.room[1] + 1, (num, 1), generator=rng)
        between = (num, self.max_digits - 1)
        steps = self.spacing + torch.randint(-self.jitter, self.jitter + 1, between, generator=rng)
        left = torch.cat([start, steps], 1).cumsum(1)  # (num, K)
        return torch.stack([top, left], 2)

    def targets(self, digits: Tensor) -> Tensor:
        positions = torch.arange(self.max_digits + 1, device=digits.device)
        count = (digits >= 0).sum(1, keepdim=True)
        symbols = torch.where(positions == count, self.num_classes, -1)  # (B, K + 1)
        symbols[:, :-1] = torch.where(digits >= 0, digits, symbols[:, :-1])
        return symbols

    def classes_in(self, targets: Tensor) -> Tensor:
        return self.digits_in(targets.where(targets < self.num_classes, -1))
