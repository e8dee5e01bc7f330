"""Digits (Alpaydin and Kaynak, 1998, UCI), included in scikit-learn.

The 8x8 images with 17 grey levels are enlarged bilinearly to 28x28, so that every net for MNIST accepts them. There is
no official split: every fifth image, in file order, belongs to the test set.
"""

import math
from typing import ClassVar

import torch
from torch.nn.functional import interpolate

from leyden.data.file_access import check_memory
from leyden.data.images import ImageData
from leyden.data.loaders import Batch


class Digits(ImageData):
    """Digits: 1,797 handwritten digits of 43 people, 28x28 grey, ten classes. No download."""

    names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_memory(8 * 1797 * math.prod(self.shape), "shape", list(self.shape))  # float64 while they are enlarged

    def count_test(self) -> int:
        return 1797 // 5

    def read(self, train: bool) -> Batch:
        from sklearn.datasets import load_digits  # takes a second to import and only this data set needs it

        bunch = load_digits()
        small = torch.from_numpy(bunch.images)[:, None] * (255 / 16)  # (N, 1, 8, 8), 0 to 255
        images = interpolate(small, self.shape[1:], mode="bilinear").round().to(torch.uint8)
        labels = torch.from_numpy(bunch.target).long()
        is_test = torch.arange(len(labels)) % 5 == 4
        chosen = ~is_test if train else is_test
        return images[chosen], labels[chosen]
