"""Data sets of images: normalised on whole batches, and, with a class each, augmented, checked and fetched."""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor
from torch.nn.functional import one_hot

from leyden.data.datamodule import DataFacts, InMemoryData, check
from leyden.data.loaders import Augment, Batch, Normalise, ShiftAndFlip
from leyden.errors import UserError


class PixelData(InMemoryData):
    """uint8 images (N, C, H, W) with any targets. A data set adds `classes_in`. Args: as `InMemoryData`, and

    mean, std: of each channel over the training set, in units of the full range (0 to 1).

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, shape: Sequence[int], mean: Sequence[float], std: Sequence[float], **kwargs: Any) -> None:
        check(len(shape) == 3 and min(shape) >= 1, f"shape: got {list(shape)}, expected [channels, height, width]")
        check(
            len(mean) == shape[0] == len(std), f"mean: there must be one mean and std for each of {shape[0]} channels"
        )
        check(min(std) > 0, f"std: got {list(std)}, must be positive")
        super().__init__(shape, **kwargs)
        self.mean, self.std = mean, std

    @abstractmethod
    def classes_in(self, targets: Tensor) -> Tensor:
        """Which classes an image with these targets shows, int64 (B, num_classes), 0 or 1."""

    def facts(self) -> DataFacts:
        return DataFacts(mean=tuple(self.mean), std=tuple(self.std), classes_in=self.classes_in)

    def transform(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        return Normalise(self.mean, self.std, device)

    def denormalise(self, batch: Tensor) -> Tensor:
        """Inverse of the loaders' normalisation: float (B, C, H, W) → 0 to 1."""
        mean, std = (torch.tensor(v, device=batch.device).view(-1, 1, 1) for v in (self.mean, self.std))
        return (batch * std + mean).clamp(0, 1)


class ImageData(PixelData):
    """uint8 images with a class each. A data set adds `read`, and `files` and `fetch` where it lies in files.

    Args: as `PixelData`, and

    root: folder that holds the files of all data sets.
    num_classes: labels run from 0 to num_classes - 1.
    shift: augmentation, random translation in pixels.
    flip: augmentation, random left-right mirror.
    exclude_class: left out of training and validation, not of the test: what an anomaly detector has not seen.
    verify: whether a file with another checksum than the published one is an error or a warning.
    download: whether missing files may be fetched.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        root: str,
        shape: Sequence[int],
        num_classes: int,
        shift: int = 0,
        flip: bool = False,
        exclude_class: int | None = None,
        verify: bool = True,
        download: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(shape, **kwargs)
        check(num_classes >= 2, f"num_classes: got {num_classes}, must be at least 2")
        check(0 <= shift < min(shape[1:]), f"shift: got {shift}, must be between 0 and {min(shape[1:]) - 1} pixels")
        check(
            exclude_class is None or 0 <= exclude_class < num_classes,
            f"exclude_class: got {exclude_class}, must be between 0 and {num_classes - 1}",
        )
        self.root, self.num_classes, self.exclude_class = Path(root), num_classes, exclude_class
        self.shift, self.flip = shift, flip
        self.verify, self.download = verify, download

    def classes_in(self, targets: Tensor) -> Tensor:
        return one_hot(targets, self.num_classes)

    def fetch(self) -> None:
        """Get the `files` that are not there.

        Raises:
            UserError: a file is missing and cannot be had.
        """

    def prepare_data(self) -> None:
        """Make sure that all files are there; of several runs at once, one fetches and the others wait."""
        if all(path.exists() for path in self.files()):
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / ".lock"):
                self.fetch()
        except OSError as error:
            raise UserError(f"data.root: cannot write to {self.root} ({error.strerror})") from error

    def unverified(self, problem: str) -> None:
        """Note a file that is not the published one.

        Raises:
            UserError: with `problem`, unless `verify` is false.
        """
        if self.verify:
            raise UserError(f"{problem}; data.verify=false takes it as it is")
        self.verified = False
        warnings.warn(f"{problem}; taken as it is, since data.verify=false", stacklevel=2)

    def read_checked(self, train: bool) -> Batch:
        images, labels = self.read(train)
        part = "training" if train else "test"
        if tuple(images.shape[1:]) != self.shape:
            raise UserError(f"data.shape: got {list(self.shape)}, but the {part} images are {list(images.shape[1:])}")
        if int(labels.max()) >= self.num_classes:
            raise UserError(f"data.num_classes: got {self.num_classes}, but a {part} label is {int(labels.max())}")
        return images, labels

    def split(self, inputs: Tensor, targets: Tensor) -> tuple[Batch, Batch]:
        return super().split(*self.without_excluded(inputs, targets))

    def without_excluded(self, images: Tensor, labels: Tensor) -> Batch:
        """The samples that are not of `exclude_class`."""
        if self.exclude_class is None:
            return images, labels
        kept = labels != self.exclude_class
        return images[kept], labels[kept]

    def strata(self, targets: Tensor) -> Tensor:
        return targets

    def augmentation(self, inputs: Tensor, targets: Tensor) -> Augment | None:
        if not self.shift and not self.flip:
            return None
        shift_and_flip = ShiftAndFlip(inputs, self.shift, self.flip)

        def draw(index: Tensor, rng: torch.Generator) -> Batch:
            return shift_and_flip(index, rng), targets[index]

        return draw
