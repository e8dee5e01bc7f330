"""Data sets of images. They download missing files, check the images, and normalise and augment whole batches."""

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from filelock import FileLock
from torch import Tensor
from torch.nn.functional import one_hot

from leyden.data import splits
from leyden.data.cutout import Cutout
from leyden.data.datamodule import DataFacts, InMemoryData, check, content_hash
from leyden.data.download import Published, md5
from leyden.data.file_access import check_regular, read_bytes
from leyden.data.image_files.raw import pixels
from leyden.data.large import pieces, take
from leyden.data.loaders import Augment, Batch, EvalLoader, Flip, Normalise, ShiftAndFlip, Unchanged
from leyden.data.photo_augment import MAX_MAGNITUDE, PhotoAugment, PhotoChanges
from leyden.errors import UserError


@dataclass(kw_only=True, eq=False, repr=False)
class ImageData(InMemoryData):
    """uint8 images (N, C, H, W) with one class each.

    A subclass implements `read`. Where the data set consists of files, it defines `published`, `folder` and `fetch`.

    Args:
        root: folder that contains the files of all data sets.
        num_classes: number of classes. Labels are 0 to num_classes - 1.
        mean: mean of each channel over the training set, 0 to 1. null: measured on the training split.
        std: standard deviation of each channel, on the same scale. null: measured on the training split.
        shift: augmentation, largest random translation in pixels.
        flip: augmentation, whether to mirror images left to right at random. alternate: each image is mirrored in
            every other epoch.
        crop: augmentation, smallest fraction of the area that a random crop keeps; 1: no crops.
        rotate: augmentation, largest angle of a random rotation in degrees.
        jitter: augmentation, largest relative change of brightness, contrast and saturation, 0 to 1. The hue turns by
            up to a quarter of it.
        randaugment: augmentation, magnitude of two random operations per image (RandAugment), 0 to 30; 0: none.
        cutout: augmentation, side in pixels of a random square that is filled with the mean colour; 0: none.
        balanced: whether all classes are sampled equally often in an epoch.
        exclude_class: label that is removed from training and validation but not from the test, for anomaly detection.
        labels: how many labels of the training split are kept: a number such as 100, the same for each class (±1), or a
            fraction such as 0.01 of each class; 1.0: all. The other samples are left out, except in self-supervised
            tasks, which train on all images.
        verify: whether a file with another checksum than the published one is an error. Otherwise it is a warning.
        download: whether missing files may be downloaded.
    """

    input_kind = "image"
    target_kind = "class"
    names: ClassVar[tuple[str, ...] | None] = None  # of the classes
    published: ClassVar[Mapping[str, Published]] = {}  # the files in `folder`, those for training first

    root: str
    num_classes: int
    mean: Sequence[float] | None
    std: Sequence[float] | None
    shift: int
    flip: Flip
    crop: float
    rotate: float
    jitter: float
    randaugment: int
    cutout: int
    balanced: bool
    exclude_class: int | None
    labels: int | float
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
        largest = min(self.shape[1:])
        check(0 <= self.cutout <= largest, f"cutout: got {self.cutout}, must be between 0 and {largest} pixels")
        check(0 < self.crop <= 1, f"crop: got {self.crop}, must be above 0 and at most 1 (1: no crops)")
        check(0 <= self.rotate <= 180, f"rotate: got {self.rotate}, must be between 0 and 180 degrees")
        check(0 <= self.jitter <= 1, f"jitter: got {self.jitter}, must be between 0 and 1")
        check(
            0 <= self.randaugment <= MAX_MAGNITUDE,
            f"randaugment: got {self.randaugment}, must be between 0 and {MAX_MAGNITUDE}",
        )
        check_labels(self.labels, self.num_classes)
        colour = self.shape[0] in (1, 3) or not (self.jitter or self.randaugment)
        check(colour, f"jitter: jitter and randaugment need 1 or 3 channels, not {self.shape[0]}; set both to 0")
        super().__post_init__()
        self.labelled_samples: Tensor | None = None  # their positions in the training split; None: all
        self._digests: dict[Path, str] = {}  # MD5 of the files that were read
        self._reported: set[Path] = set()  # files whose checksum is not the published one

    @property
    def root_folder(self) -> Path:
        return Path(self.root).expanduser()

    @property
    def folder(self) -> Path:
        """The folder that contains the files of this data set."""
        return self.root_folder

    def files(self) -> Sequence[Path]:
        return [self.folder / name for name in self.published]

    @property
    def statistics(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and standard deviation of each channel. If they were not given, they are known after `setup`."""
        assert self.mean is not None
        assert self.std is not None
        return self.mean, self.std

    def encode(self, item: Any) -> Tensor:
        """Convert an image in any form to uint8 (C, H, W), see `image_files.raw.pixels`."""
        return pixels(item, self.shape)

    def classes_in(self, targets: Tensor) -> Tensor:
        """Return which classes the images with these targets show, int64 (B, num_classes), 0 or 1."""
        return one_hot(targets, self.num_classes)

    def facts(self) -> DataFacts:
        mean, std = self.statistics
        counts = None
        if self.train is not None:
            counts = tuple(torch.bincount(self.train[1].cpu(), minlength=self.num_classes).tolist())
        return DataFacts(
            tuple(mean), tuple(std), None, self.classes_in, self.class_names(), counts, labelled=self.labelled
        )

    def class_names(self) -> tuple[str, ...] | None:
        return self.names if self.names and len(self.names) == self.num_classes else None

    def setup(self, stage: str) -> None:
        """Read the splits that `stage` needs. Measure mean and standard deviation if the config does not give them.

        The files of the test set are verified before the training. Otherwise damage would be found only at the end.
        """
        super().setup(stage)
        if stage != "test":
            self.verify_files()
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

    def read_file(self, path: Path) -> bytes:
        """Read a published file and compare its checksum.

        Raises:
            UserError: it cannot be read, or is not the published file and `verify` is true.
        """
        payload = read_bytes(path, "data.root")
        self._compare(path, len(payload), hashlib.md5(payload).hexdigest())
        return payload

    def verify_files(self) -> None:
        """Compare the checksums of all files. If one differs and `verify` is false, check that it can be read.

        Raises:
            UserError: a file is not the published one, or cannot be read.
        """
        for path in self.files():
            if path.name in self.published:
                self._digest(path)
        if self._reported:
            self.read_checked(train=False)

    def _digest(self, path: Path) -> str:
        """Return the MD5 of a published file. Each file is read only once."""
        if path not in self._digests:
            size = check_regular(path, "data.root")
            if self.verify and size != self.published[path.name].size:
                self._compare(path, size, "")  # the size alone is an error, so a huge file is not read
            self._compare(path, size, md5(path))
        return self._digests[path]

    def _compare(self, path: Path, size: int, digest: str) -> None:
        self._digests[path] = digest
        expected = self.published[path.name]
        if (size, digest) == expected or path in self._reported:
            return
        problem = f"{path}: MD5 is {digest}, published is {expected.md5}"
        if size != expected.size:
            problem = f"{path}: has {size:,} bytes, published are {expected.size:,}"
        if self.verify:
            raise UserError(f"{problem}; delete it, or data.verify=false takes the file as it is")
        self.verified = False
        self._reported.add(path)
        warnings.warn(f"{problem}; the file is taken as it is because data.verify=false", stacklevel=2)

    def fingerprint(self) -> str:
        """Return a hash of the names and checksums of all files, or of the images if there are no files."""
        if not self.published:
            return super().fingerprint()
        return content_hash([(path.name, self._digest(path)) for path in self.files()])

    def read_checked(self, train: bool) -> Batch:
        images, labels = self.read(train)
        split = "training" if train else "test"
        if len(labels) == 0:
            raise UserError(f"data.root: the {split} set contains no images")
        if tuple(images.shape[1:]) != self.shape:
            raise UserError(f"data.shape: got {list(self.shape)}, but the {split} images are {list(images.shape[1:])}")
        wrong = (labels < 0) | (labels >= self.num_classes)
        if wrong.any():
            position = int(wrong.int().argmax())
            raise UserError(
                f"data.num_classes: got {self.num_classes}, but {split} image {position} has the label "
                f"{int(labels[position])}; labels are 0 to {self.num_classes - 1}"
            )
        return images, labels

    def split(self, inputs: Tensor, targets: Tensor, ids: Tensor | None) -> tuple[Batch, Batch]:
        if self.exclude_class is not None:
            kept = targets != self.exclude_class
            inputs, targets, ids = take(inputs, kept), targets[kept], ids if ids is None else ids[kept]
        train, val = super().split(inputs, targets, ids)
        return self._with_labels(train), val

    def _with_labels(self, train: Batch) -> Batch:
        """Choose the samples of the training split whose labels are kept, and leave out the others if need be."""
        inputs, targets = train
        if self.labels == 1.0 and isinstance(self.labels, float):
            return train
        num_classes, num_samples = len(torch.unique(targets)), len(targets)
        num = self.labels if isinstance(self.labels, int) else max(num_classes, round(self.labels * num_samples))
        if not num_classes <= num <= num_samples:
            raise UserError(
                f"data.labels: got {self.labels}, must be from {num_classes}, the number of classes, to "
                f"{num_samples:,}, the number of training samples"
            )
        kept = splits.number(targets, num, self.seed, equal=isinstance(self.labels, int))
        if self.trains_unlabelled:
            self.labelled_samples = kept.nonzero().flatten()
            return train
        return take(inputs, kept), targets[kept]

    def labelled(self, num: int | None = None) -> EvalLoader:
        """Return labelled training samples in batches, as the net receives them and without augmentation.

        Args:
            num: how many; of each class in proportion to its size. None, or more than there are: all.
        """
        assert self.train is not None
        inputs, targets = self.train
        if self.labelled_samples is not None:
            chosen = self.labelled_samples.to(targets.device)
            inputs, targets = inputs[chosen], targets[chosen]
        if num is not None and num < len(targets):
            chosen = splits.number(targets.cpu(), num, self.seed, equal=False).to(targets.device)
            inputs, targets = inputs[chosen], targets[chosen]
        return EvalLoader(inputs, targets, self.eval_batch_size, self.transform(inputs.device))

    def describe(self) -> str:
        text = super().describe()
        return text if self.labelled_samples is None else f"{text}, {len(self.labelled_samples):,} labels"

    def strata(self, targets: Tensor) -> Tensor:
        return targets

    def balance(self, targets: Tensor) -> Tensor | None:
        return targets if self.balanced else None

    def augmentation(self, inputs: Tensor, targets: Tensor) -> Augment | None:
        changes = PhotoChanges(self.crop, self.rotate, self.jitter, self.randaugment)
        augment: Augment | None = None
        if changes.any:
            augment = PhotoAugment(inputs, targets, self.shift, self.flip, changes, self.seed)
        elif self.shift or self.flip:
            augment = ShiftAndFlip(inputs, targets, self.shift, self.flip, self.seed)
        if not self.cutout:
            return augment
        mean, _ = self.statistics
        return Cutout(augment or Unchanged(inputs, targets), self.cutout, self.shape, mean, inputs.device)


def check_image_shape(shape: Sequence[int]) -> None:
    """Raise a ValueError unless `shape` is [channels, height, width]."""
    check(len(shape) == 3 and min(shape) >= 1, f"shape: got {list(shape)}, expected [channels, height, width]")


def check_labels(labels: float, num_classes: int) -> None:
    """Raise a ValueError unless `labels` is a fraction, or a number that gives each class a label."""
    if isinstance(labels, int):
        check(labels >= num_classes, f"labels: got {labels}, must be a fraction, or at least {num_classes} labels")
    else:
        check(0 < labels <= 1, f"labels: got {labels}, must be a number of labels, or a fraction from 0 to 1.0 (all)")


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
    values, zero = torch.arange(256, dtype=torch.float64) / 255, torch.zeros(256, dtype=torch.int64)
    means, stds = [], []
    parts = list(pieces(len(images), math.prod(images.shape[1:])))
    for channel in range(images.shape[1]):
        counts = sum((torch.bincount(images[part, channel].flatten(), minlength=256) for part in parts), zero)
        mean = float((counts * values).sum() / counts.sum())
        variance = float((counts * (values - mean).square()).sum() / counts.sum())
        means.append(round(mean, 4))
        stds.append(round(max(math.sqrt(variance), 1 / 255), 4))
    return means, stds
