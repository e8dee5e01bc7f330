"""A person's own images, in a folder per class.

    root/cat/*.jpg          or, with splits of your own     root/train/cat/*.jpg
    root/dog/*.png                                          root/val/cat/*.jpg
                                                            root/test/cat/*.jpg

What of val and test is not there is cut from train, stratified, by seed.
"""

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leyden.data import splits
from leyden.data.datamodule import check
from leyden.data.image_files.decode import Cache
from leyden.data.image_files.listing import EXTENSIONS, list_images, part_folders
from leyden.data.images import ImageData
from leyden.data.loaders import Batch
from leyden.errors import UserError

SHOWN = 3  # broken files that are named


class Folder(ImageData):
    """Args: as `ImageData`, and

    root: holds class folders, or folders train, val and test that hold class folders.
    shape: [C, H, W] to which every image is resized, see `image_files.decode`; C is 1 (grey) or 3 (colour).
    classes: the names of the class folders; a label is a position in this list.
    cache: folder for the decoded images. It is not `root`, where other programs would take it for a class.
    mean, std: null to measure them on the training images.
    test_fraction: of the images, kept for the test where there is no test folder.
    skip_broken: leave out files that are no images or damaged, with a warning, instead of ending with an error.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        root: str,
        shape: Sequence[int],
        classes: Sequence[str],
        cache: str,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        test_fraction: float = 0.1,
        skip_broken: bool = False,
        **kwargs: Any,
    ) -> None:
        check(
            len(shape) == 3 and shape[0] in (1, 3),
            f"shape: got {list(shape)}, expected [channels, height, width] with 1 channel (grey) or 3 (colour)",
        )
        check((mean is None) == (std is None), "mean: data.mean and data.std must both be given or both be null")
        check(0 < test_fraction < 1, f"test_fraction: got {test_fraction}, must be between 0 and 1")
        not_yet = [1.0] * shape[0]
        super().__init__(root=root, shape=shape, mean=mean or not_yet, std=std or not_yet, **kwargs)
        check(
            len(classes) == self.num_classes,
            f"classes: got {len(classes)} names, but data.num_classes is {self.num_classes}",
        )
        self.root = self.root.expanduser()
        self.classes, self.measure = list(classes), mean is None
        self.test_fraction, self.skip_broken = test_fraction, skip_broken
        resolved = self.root.resolve()
        self.cache = Path(cache).expanduser() / f"{resolved.name}-{blake2b(bytes(resolved), digest_size=4).hexdigest()}"

    def files(self) -> Sequence[Path]:
        return [self.root]

    @cached_property
    def caches(self) -> dict[str, Cache]:
        """Part → its images, listed once: files that come while a run is going on are for the next one.

        Raises:
            UserError: the folders do not fit the config.
        """
        folders = part_folders(self.root)
        if "val" in folders and self.num_folds:
            raise UserError(f"data.num_folds: {folders['val']} is there to validate with, so there is nothing to fold")
        caches, others = {}, Counter[str]()
        size = "x".join(map(str, self.shape))
        for part, folder in folders.items():
            images, left_out = list_images(folder, self.classes)
            missing = sorted(set(range(self.num_classes)) - {image.label for image in images})
            if missing and (part == "train" or not images):
                raise UserError(f"data.root: {folder / self.classes[missing[0]]} holds no images{_kinds(left_out)}")
            caches[part] = Cache(self.cache / f"{part}-{size}.npz", images, self.shape, folder)
            others += left_out
        if others:
            warnings.warn(f"data.root: {others.total()} files in {self.root} left out{_kinds(others)}", stacklevel=2)
        return caches

    def prepare_data(self) -> None:
        """Decode what is not in the cache; of the test images too, so that a broken one does not turn up at the end.

        Raises:
            UserError: a file is broken, unless `skip_broken`.
        """
        broken = [
            f"{cache.files[position].path} ({reason})"
            for cache in self.caches.values()
            for position, reason in cache.broken().items()
        ]
        if not broken:
            return
        more = f"; and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        found = f"data.root: {len(broken)} broken images: {'; '.join(broken[:SHOWN])}{more}"
        if not self.skip_broken:
            raise UserError(f"{found}; data.skip_broken=true leaves them out")
        warnings.warn(f"{found}; left out, since data.skip_broken=true", stacklevel=2)

    def setup(self, stage: str) -> None:
        """As the base; and measure mean and standard deviation, if they are not given."""
        self.prepare_data()
        super().setup(stage)
        if self.measure:
            super().setup("fit")
            assert self.train is not None
            self.mean, self.std = mean_and_std(self.train[0])
            self.measure = False

    def measured(self) -> dict[str, Any]:
        return {"mean": list(self.mean), "std": list(self.std)}

    def read(self, train: bool) -> Batch:
        if not train and "test" in self.caches:
            return self._decoded("test")
        images, labels = self._decoded("train")
        if "test" not in self.caches:
            held_out = splits.fraction(labels, self.test_fraction, self.seed)
            chosen = ~held_out if train else held_out
            images, labels = images[chosen], labels[chosen]
        if train:
            self._check_enough(labels)
        return images, labels

    def read_val(self) -> Batch | None:
        return self.without_excluded(*self._decoded("val")) if "val" in self.caches else None

    def _decoded(self, part: str) -> Batch:
        images, labels = self.caches[part].read()
        if len(labels) == 0:
            raise UserError(f"data.root: none of the {part} images can be read")
        return torch.from_numpy(images), torch.from_numpy(labels)

    def _check_enough(self, labels: Tensor) -> None:
        least = 1 if "val" in self.caches else 2
        num, label = torch.bincount(labels, minlength=self.num_classes).min(0)
        if num < least:
            raise UserError(
                f"data.root: class {self.classes[label]} has too few images: {num} left to train"
                f"{'' if least == 1 else ' and validate'} with, at least {least} are needed"
            )


def mean_and_std(images: Tensor) -> tuple[list[float], list[float]]:
    """Of each channel of uint8 (N, C, H, W), in units of the full range, to four digits; exact, from counts of values.

    The standard deviation is at least one grey level, so that it can be divided by where all pixels are the same.
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


def _kinds(others: Counter[str]) -> str:
    """`` (3 .txt, 1 .csv; images are .avif, .bmp, …)`` or nothing."""
    if not others:
        return ""
    found = ", ".join(f"{num} {extension or 'without an extension'}" for extension, num in others.most_common())
    return f" ({found}; images are {' '.join(EXTENSIONS)})"
