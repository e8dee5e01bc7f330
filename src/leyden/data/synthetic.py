"""Made-up images whose classes can be learned: a random pattern per class, under noise as strong as itself.

For smoke tests and benchmarks; its figures say nothing of any real data.
"""

from typing import Any

import torch

from leyden.data.images import ImageData
from leyden.data.loaders import Batch
from leyden.seeding import generator


class Synthetic(ImageData):
    """Args: as `ImageData`, and

    num_train, num_test: number of images.

    Raises:
        ValueError: fewer images than classes.
    """

    def __init__(self, num_train: int = 2000, num_test: int = 500, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, num in (("num_train", num_train), ("num_test", num_test)):
            if num < 2 * self.num_classes:
                raise ValueError(f"{name}: got {num}, must be at least twice the {self.num_classes} classes")
        self.num_train, self.num_test = num_train, num_test

    def read(self, train: bool) -> Batch:
        patterns = torch.rand((self.num_classes, *self.shape), generator=generator(self.seed, "patterns"))
        num = self.num_train if train else self.num_test
        labels = torch.arange(num) % self.num_classes
        noise = torch.rand((num, *self.shape), generator=generator(self.seed, "noise", train))
        return ((patterns[labels] + noise) * 127.5).to(torch.uint8), labels
