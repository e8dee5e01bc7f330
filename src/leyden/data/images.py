"""Data sets of images: normalised on whole batches, augmented, checked, and downloaded where files are missing."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from filelock import FileLock
from torch import Tensor
from torch.nn.functional import one_hot

from leyden.data.datamodule import DataFacts, InMemoryData, check
from leyden.data.loaders import Augment, Batch, Normalise, ShiftAndFlip
from leyden.errors import UserError


@dataclass(kw_only=True, eq=False, repr=False)
class ImageData(InMemoryData):
    """uint8 images (N, C, H, W) with one class each.

    A subclass implements `read`. Where the data set consists of files, it implements `files` and `fetch` too.

    Args:
        root: folder that contains the files of all data sets.
        num_classes: number of classes. Labels are 0 to num_classes - 1.
        mean: of each channel over the training set, 0 to 1. null: measured on the training split.
        std: standard deviation of each channel, on the same scale. null: measured on the training split.
        shift: augmentation, largest random translation in pixels.
        flip: augmentation, whether to mirror images left to right at random.
        exclude_class: label that is removed from training and validation but not from the test, for anomaly detection.
        verify: whether a file with another checksum than the published one is an error. Otherwise it is a warning.
        download: whether missing files may be downloaded.
    """

    names: ClassVar[tuple[str, ...] | None] = None  # of the classes

    root: str
    num_classes: int
    mean: Sequence[float] | None
    std: Sequence[float] | None
    shift: int
    flip: bool
    exclude_class: int | None
    verify: bool
    download: bool

    def __post_init__(self) -> None:
        check_image_shape(self.shape)
        check_statistics(self.mean, self.std, self.shape[0])
        check(self.num_classes >= 2, f"num_classes: got {self.num_classes}, must be at least 2")
        largest = min(self.shape[1:]) - 1
        check(0 <= self.shift <= largest, f"shift: got {self.shift}, must be between 0 and {largest} pixels")
        check(
            self.exclude_class is None or 0 <= self.exclude_class < self.num_classes,
            f"exclude_class: got {self.exclude_class}, must be between 0 and {self.num_classes - 1}",
        )
        super().__post_init__()

    @property
    def root_folder(self) -> Path:
        return Path(self.root).expanduser()

    @property
    def statistics(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and standard deviation of each channel. If they were not given, they are known after `setup`."""
        assert self.mean is not None
        assert self.std is not None
        return self.mean, self.std

    def classes_in(self, targets: Tensor) -> Tensor:
        """Return which classes the images with these targets show, int64 (B, num_classes), 0 or 1."""
        return one_hot(targets, self.num_classes)

    def facts(self) -> DataFacts:
        mean, std = self.statistics
        return DataFacts(mean=tuple(mean), std=tuple(std), classes_in=self.classes_in, classes=self.class_names())

    def class_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes in the order of their labels, if they are known."""
        return self.names if self.names and len(self.names) == self.num_classes else None

    def setup(self, stage: str) -> None:
        """Read what `stage` needs. Measure mean and standard deviation if they were not given."""
        super().setup(stage)
        if self.mean is None:
            super().setup("fit")
            assert self.train is not None
            self.mean, self.std = mean_and_std(self.train[0])

    def measured(self) -> dict[str, Any]:
        mean, std = self.statistics
        return {"mean": list(mean), "std": list(std)}

    def transform(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        return Normalise(*self.statistics, device)

    def denormalise(self, batch: Tensor) -> Tensor:
        """Undo the normalisation of a batch: float (B, C, H, W) → 0 to 1."""
        return denormalise(batch, *self.statistics)

    def fetch(self) -> None:
        """Download or unpack the `files` that are missing.

        Raises:
            UserError: a file is missing and cannot be downloaded.
        """

    def prepare_data(self) -> None:
        """Make sure that all files exist. If several runs start at once, one downloads and the others wait."""
        if all(path.exists() for path in self.files()):
            return
        try:
            self.root_folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root_folder / ".lock"):
                self.fetch()
        except OSError as error:
            raise UserError(f"data.root: cannot write to {self.root_folder} ({error.strerror})") from error

    def unverified(self, problem: str) -> None:
        """Record that a file differs from the published one.

        Raises:
            UserError: with `problem`, unless `verify` is false.
        """
        if self.verify:
            raise UserError(f"{problem}; data.verify=false takes the file as it is")
        self.verified = False
        warnings.warn(f"{problem}; the file is taken as it is because data.verify=false", stacklevel=2)

    def read_checked(self, train: bool) -> Batch:
        images, labels = self.read(train)
        split = "training" if train else "test"
        if tuple(images.shape[1:]) != self.shape:
            raise UserError(f"data.shape: got {list(self.shape)}, but the {split} images are {list(images.shape[1:])}")
        if int(labels.max()) >= self.num_classes:
            raise UserError(f"data.num_classes: got {self.num_classes}, but a {split} label is {int(labels.max())}")
        return images, labels

    def split(self, inputs: Tensor, targets: Tensor) -> tuple[Batch, Batch]:
        return super().split(*self.without_excluded(inputs, targets))

    def without_excluded(self, images: Tensor, labels: Tensor) -> Batch:
        """Return the samples whose label is not `exclude_class`."""
        if self.exclude_class is None:
            return images, labels
        kept = labels != self.exclude_class
        return images[kept], labels[kept]

    def strata(self, targets: Tensor) -> Tensor:
        return targets

    def augmentation(self, inputs: Tensor, targets: Tensor) -> Augment | None:
        if not self.shift and not self.flip:
            return None
        return ShiftAndFlip(inputs, targets, self.shift, self.flip)


def check_image_shape(shape: Sequence[int]) -> None:
    """Raise a ValueError unless `shape` is [channels, height, width]."""
    check(len(shape) == 3 and min(shape) >= 1, f"shape: got {list(shape)}, expected [channels, height, width]")


def check_statistics(mean: Sequence[float] | None, std: Sequence[float] | None, num_channels: int) -> None:
    """Raise a ValueError unless there is a mean and a positive std for each channel, or neither is given."""
    if mean is None and std is None:
        return
    check(mean is not None and std is not None, "mean: data.mean and data.std must both be given or both be null")
    assert mean is not None
    assert std is not None
    right_number = len(mean) == num_channels == len(std)
    check(right_number, f"mean: data.mean and data.std must have {num_channels} values, one per channel")
    check(min(std) > 0, f"std: got {list(std)}, must be positive")


def denormalise(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Undo `Normalise`: float (B, C, H, W) → 0 to 1."""
    means, stds = (torch.tensor(values, device=batch.device).view(-1, 1, 1) for values in (mean, std))
    return (batch * stds + means).clamp(0, 1)


def mean_and_std(images: Tensor) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel of uint8 images (N, C, H, W), 0 to 1, to four digits.

    They are exact, because they are computed from the counts of the 256 values. The standard deviation is at least one
    grey level, so that dividing by it is possible if all pixels are equal.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = torch.bincount(images[:, channel].flatten(), minlength=256)
        mean = float((counts * values).sum() / counts.sum())
        variance = float((counts * (values - mean).square()).sum() / counts.sum())
        means.append(round(mean, 4))
        stds.append(round(max(math.sqrt(variance), 1 / 255), 4))
    return means, stds
