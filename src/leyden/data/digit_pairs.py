"""Digit pairs: which digits does an image of two or three handwritten digits show?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from leyden.data.composed import SIDE, MultiDigitData
from leyden.data.datamodule import check


@dataclass(kw_only=True, eq=False, repr=False)
class DigitPairs(MultiDigitData):
    """Digit pairs: images of several digits in the corners, with the set of digits that they show as the target.

    Targets are int64 (N, num_classes): 1 for each digit that the image shows, once or several times.

    Args:
        jitter: largest distance of a digit from its corner, in pixels.
    """

    target_kind = "labels"

    jitter: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.max_digits <= 4, f"max_digits: got {self.max_digits}, must be at most 4, one digit per corner")
        room = min(self.shape[1:]) - SIDE
        check(0 <= self.jitter <= room, f"jitter: got {self.jitter}, must be between 0 and {room} pixels")

    def corners(self, num: int, rng: torch.Generator) -> Tensor:
        corner = torch.rand((num, 4), generator=rng).argsort(1)[:, : self.max_digits]  # never two digits in one corner
        side = torch.stack([corner // 2, corner % 2], 2)  # (num, K, 2): 0 for top or left, 1 for bottom or right
        jitter = torch.randint(0, self.jitter + 1, side.shape, generator=rng)
        room = torch.tensor(self.shape[1:]) - SIDE
        return torch.where(side == 1, room - jitter, jitter)

    def targets(self, digits: Tensor) -> Tensor:
        return self.digits_in(digits)

    def classes_in(self, targets: Tensor) -> Tensor:
        return targets
