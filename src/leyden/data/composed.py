"""Images composed of several images of digits, in whole batches.

Training images are composed again in every epoch, validation and test images once. No source image is used in two
splits: the validation digits are held out before anything is composed, and the test images consist of test digits.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from leyden.data.datamodule import DataFacts, InMemoryData, check
from leyden.data.digits import Digits
from leyden.data.file_access import check_memory
from leyden.data.image_files.raw import pixels
from leyden.data.images import ImageData, check_image_shape, denormalise
from leyden.data.loaders import Augment, Batch, Normalise
from leyden.data.mnist import MNIST
from leyden.seeding import generator

Source = Literal["digits", "mnist"]

# class, mean and standard deviation of its pixels (0 to 1)
SOURCES: dict[str, tuple[type[ImageData], float, float]] = {
    "digits": (Digits, 0.305, 0.361),
    "mnist": (MNIST, 0.1307, 0.3081),
}
SIDE = 28  # of the source images, in pixels


class DigitCanvas:
    """Draw several source images on each image of a batch. Where two overlap, the brighter pixel is used.

    Args:
        images: uint8 source images (N, 1, h, w), on the training device.
        size: [H, W] of the composed images.
    """

    def __init__(self, images: Tensor, size: Sequence[int]) -> None:
        self.height, self.width = images.shape[2:]
        # (N * (h + 2), w + 2): pixels of the canvas outside of a source image read the black frame around it. A mask
        # instead of the frame would need no copy of the images, but takes 2.3 times as long.
        self.lines = pad(images[:, 0], (1, 1, 1, 1)).view(-1, self.width + 2)
        self.rows, self.columns = (torch.arange(side, device=images.device) for side in size)

    def __call__(self, chosen: Tensor, corners: Tensor) -> Tensor:
        """Compose a batch.

        Args:
            chosen: int64 (B, K), indices of source images, -1 for none.
            corners: int64 (B, K, 2), row and column of the upper left pixel of each. It may lie outside.

        Returns:
            uint8 (B, 1, H, W)
        """
        num, height, width = len(chosen), len(self.rows), len(self.columns)
        canvas = torch.zeros((num, height, width), dtype=torch.uint8, device=chosen.device)
        for position in range(chosen.shape[1]):
            image, top, left = chosen[:, position, None], corners[:, position, :1], corners[:, position, 1:]  # (B, 1)
            row = torch.where(image >= 0, (self.rows - top + 1).clamp(0, self.height + 1), 0)  # (B, H)
            column = (self.columns - left + 1).clamp(0, self.width + 1)  # (B, W)
            lines = self.lines.index_select(0, (image.clamp(0) * (self.height + 2) + row).view(-1))
            tile = lines.view(num, height, -1).gather(2, column[:, None].expand(-1, height, -1))  # (B, H, W)
            canvas = torch.maximum(canvas, tile)
        return canvas[:, None]


@dataclass(kw_only=True, eq=False, repr=False)
class MultiDigitData(InMemoryData):
    """Images of several digits, composed of the images of another data set.

    A subclass implements `corners`, `targets` and `classes_in`.

    Args:
        root: folder that contains the files of all data sets.
        source: data set of the digits: digits (included in scikit-learn) or mnist.
        mirrors: addresses to download the source from, each ending in a slash.
        num_classes: number of different digits.
        min_digits: smallest number of digits per image. All numbers up to `max_digits` are equally frequent.
        max_digits: largest number of digits per image.
        num_train: number of training images per epoch.
        num_eval: number of validation images, and of test images.
        verify: whether a source file with another checksum than the published one is an error.
        download: whether missing source files may be downloaded.
    """

    input_kind = "image"

    root: str
    source: Source
    mirrors: Sequence[str]
    num_classes: int
    min_digits: int
    max_digits: int
    num_train: int
    num_eval: int
    verify: bool
    download: bool

    def __post_init__(self) -> None:
        in_range = 1 <= self.min_digits <= self.max_digits
        check(in_range, f"min_digits: got {self.min_digits}, must be between 1 and {self.max_digits}")
        check(self.num_train >= 1, f"num_train: got {self.num_train}, must be at least 1")
        check(self.num_eval >= 1, f"num_eval: got {self.num_eval}, must be at least 1")
        check_image_shape(self.shape)
        check_memory(2 * self.num_train * SIDE**2, "num_train", self.num_train)
        check_memory(2 * self.num_eval * math.prod(self.shape), "num_eval", self.num_eval)
        kind, mean, std = SOURCES[self.source]
        covered = (self.min_digits + self.max_digits) / 2 * SIDE**2 / (self.shape[-2] * self.shape[-1])  # fraction
        spread = (covered * (std**2 + mean**2) - (covered * mean) ** 2) ** 0.5
        self.mean, self.std = [covered * mean], [spread]
        check(self.shape[0] == 1, f"shape: got {list(self.shape)}, the digits are grey: there must be 1 channel")
        super().__post_init__()
        files: dict[str, Any] = {"mirrors": self.mirrors} if kind is MNIST else {}
        self.source_data = kind(
            shape=(1, SIDE, SIDE), seed=self.seed, batch_size=self.batch_size, eval_batch_size=self.eval_batch_size,
            val_fraction=self.val_fraction, train_on_all=False, num_folds=self.num_folds, fold=self.fold,
            limit=self.limit, root=self.root,
            num_classes=self.num_classes, mean=[mean], std=[std], shift=0, flip=False, exclude_class=None,
            crop=1.0, rotate=0.0, jitter=0.0, randaugment=0, cutout=0, balanced=False, labels=1.0,
            verify=self.verify, download=self.download, **files,
        )  # fmt: skip

    def files(self) -> Sequence[Path]:
        return self.source_data.files()

    def prepare_data(self) -> None:
        self.source_data.prepare_data()

    def encode(self, item: Any) -> Tensor:
        """Convert an image in any form to uint8 (C, H, W), see `image_files.raw.pixels`."""
        return pixels(item, self.shape)

    @abstractmethod
    def corners(self, num: int, rng: torch.Generator) -> Tensor:
        """Draw the position of each digit of `num` images, int64 (num, max_digits, 2); see `DigitCanvas`."""

    @abstractmethod
    def targets(self, digits: Tensor) -> Tensor:
        """Return the targets of images with these digits, int64 (B, max_digits), -1 for none."""

    @abstractmethod
    def classes_in(self, targets: Tensor) -> Tensor:
        """Return which digits the images with these targets show, int64 (B, num_classes), 0 or 1."""

    def digits_in(self, digits: Tensor) -> Tensor:
        """Return which classes occur: digits int64 (B, K), -1 for none → (B, num_classes), 0 or 1."""
        return one_hot(digits + 1, self.num_classes + 1)[..., 1:].amax(1)

    def class_names(self) -> tuple[str, ...] | None:
        return self.source_data.class_names()

    def count_test(self) -> int:
        return self.num_eval

    def fingerprint(self) -> str:
        return self.source_data.fingerprint()

    def facts(self) -> DataFacts:
        mean, std = tuple(self.mean), tuple(self.std)
        return DataFacts(mean=mean, std=std, classes_in=self.classes_in, classes=self.class_names())

    def transform(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        return Normalise(self.mean, self.std, device)

    def denormalise(self, batch: Tensor) -> Tensor:
        """Undo the normalisation of a batch: float (B, C, H, W) → 0 to 1."""
        return denormalise(batch, self.mean, self.std)

    def read(self, train: bool) -> Batch:
        """Read the source digits for training and validation, or compose the test images (the same for all seeds)."""
        images, labels = self.source_data.read_checked(train)
        self.verified = self.source_data.verified
        if train:
            return images, labels
        # "test pictures" is part of the seed: another name would change the test set
        return self.composed(images, labels, self.num_eval, generator(0, "test pictures"))

    def setup(self, stage: str) -> None:
        """Read what `stage` needs. The files of the test set are verified before the training."""
        super().setup(stage)
        if stage != "test":
            self.source_data.verify_files()
            self.verified = self.source_data.verified

    def strata(self, targets: Tensor) -> Tensor:
        return targets

    def split(self, inputs: Tensor, targets: Tensor, ids: Tensor | None) -> tuple[Batch, Batch]:
        train, val = super().split(inputs, targets, ids)
        index = torch.arange(self.num_train) % len(train[1])
        val_images = self.composed(*val, self.num_eval, generator(self.seed, "val pictures"))
        return (train[0][index], train[1][index]), val_images

    def client_samples(self, samples: Tensor) -> Batch:
        """Compose as many images as the client has digits, of its own digits."""
        return self.composed(*super().client_samples(samples), len(samples), generator(self.seed, "client pictures"))

    def composed(self, images: Tensor, labels: Tensor, num: int, rng: torch.Generator) -> Batch:
        """Compose `num` images from these source images."""
        augment = self.augmentation(images, labels)
        draws = (draw.to(labels.device) for draw in augment.draw(num, rng))
        return augment(torch.arange(num, device=labels.device) % len(labels), *draws)

    def augmentation(self, inputs: Tensor, targets: Tensor) -> Augment:
        return RandomDigits(self, inputs, targets)


class RandomDigits:
    """Compose images of several digits. The index selects the first digit of an image; the others are random.

    Args:
        data: the data set: how many digits, where they are, and what the targets are.
        images: uint8 source images (N, 1, h, w), on the training device.
        labels: labels of the source images, int64 (N,).
    """

    def __init__(self, data: MultiDigitData, images: Tensor, labels: Tensor) -> None:
        self.data, self.labels = data, labels
        self.canvas = DigitCanvas(images, data.shape[1:])

    def draw(self, num: int, rng: torch.Generator, epoch: int = 0) -> tuple[Tensor, ...]:
        """Draw the other digits (num, K - 1), the numbers of digits (num, 1) and their corners (num, K, 2)."""
        data = self.data
        others = torch.randint(0, len(self.labels), (num, data.max_digits - 1), generator=rng)
        counts = torch.randint(data.min_digits, data.max_digits + 1, (num, 1), generator=rng)
        return others, counts, data.corners(num, rng)

    def __call__(self, index: Tensor, *draws: Tensor) -> Batch:
        others, counts, corners = draws
        used = torch.arange(self.data.max_digits, device=index.device) < counts  # (B, K)
        chosen = torch.where(used, torch.cat([index[:, None], others], 1), -1)
        digits = torch.where(used, self.labels[chosen.clamp(0)], -1)
        return self.canvas(chosen, corners), self.data.targets(digits)
