"""Generated images whose classes can be learned: one random pattern per class, plus noise of the same strength.

For smoke tests and benchmarks. Metrics on these images say nothing about real data.
"""

import math
from dataclasses import dataclass

import torch

from leyden.data.datamodule import check, content_hash
from leyden.data.image_files.progress import progress
from leyden.data.images import ImageData
from leyden.data.large import check_space, pieces, zeros
from leyden.data.loaders import Batch
from leyden.seeding import generator


@dataclass(kw_only=True, eq=False, repr=False)
class Synthetic(ImageData):
    """Synthetic: generated images of any shape with learnable classes. No download.

    Args:
        num_train: number of images for training and validation.
        num_test: number of test images.
    """

    num_train: int
    num_test: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, num in (("num_train", self.num_train), ("num_test", self.num_test)):
            least = 2 * self.num_classes
            check(num >= least, f"{name}: got {num}, must be at least {least} (two per class)")
            try:
                check_space(num * math.prod(self.shape))
            except ValueError as error:
                raise ValueError(f"{name}: got {num}, {error}") from error

    def count_test(self) -> int:
        return self.num_test

    def fingerprint(self) -> str:
        return content_hash(self.seed, self.shape, self.num_classes, self.num_train, self.num_test)

    def read(self, train: bool) -> Batch:
        patterns = torch.rand((self.num_classes, *self.shape), generator=generator(self.seed, "patterns"))
        num = self.num_train if train else self.num_test
        labels = torch.arange(num) % self.num_classes
        images, rng = torch.from_numpy(zeros((num, *self.shape))), generator(self.seed, "noise", train)
        parts = list(pieces(num, 4 * math.prod(self.shape)))
        for part in progress(f"generating {num:,} images", parts, len(parts)):
            chosen = labels[part]
            noise = torch.rand((len(chosen), *self.shape), generator=rng)
            images[part] = ((patterns[chosen] + noise) * 127.5).to(torch.uint8)
        return images, labels
