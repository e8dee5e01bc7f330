"""Digit pairs: two or three handwritten digits in the corners of one picture; which ones are there?"""

from typing import Any

import torch
from torch import Tensor

from leyden.data.composed import SIDE, ComposedData
from leyden.data.datamodule import check


class DigitPairs(ComposedData):
    """Targets are int64 (N, num_classes), 1 for a digit that is in the picture, once or more often.

    Args: as `ComposedData`, and

    jitter: how far a digit may stand from its corner, in pixels.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, jitter: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check(self.max_digits <= 4, f"max_digits: got {self.max_digits}, a picture has 4 corners")
        room = min(self.shape[1:]) - SIDE
        check(0 <= jitter <= room, f"jitter: got {jitter}, must be between 0 and {room} pixels")
        self.jitter = jitter

    def corners(self, num: int, rng: torch.Generator) -> Tensor:
        corner = torch.rand((num, 4), generator=rng).argsort(1)[:, : self.max_digits]  # no two in one
        side = torch.stack([corner // 2, corner % 2], 2)  # (num, K, 2): 0 for top or left, 1 for bottom or right
        jitter = torch.randint(0, self.jitter + 1, side.shape, generator=rng)
        room = torch.tensor(self.shape[1:]) - SIDE
        return torch.where(side == 1, room - jitter, jitter)

    def targets(self, digits: Tensor) -> Tensor:
        return self.digits_in(digits)

    def classes_in(self, targets: Tensor) -> Tensor:
        return targets
