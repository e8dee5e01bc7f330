"""Your own images, one folder per class.

    root/cat/*.jpg          or, with your own splits        root/train/cat/*.jpg
    root/dog/*.png                                          root/val/cat/*.jpg
                                                            root/test/cat/*.jpg

If there is no folder val or test, that split is taken from the training images, by a hash of seed and path. So images
that are added later never change the split of the others.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from leyden.data import splits
from leyden.data.datamodule import check, content_hash, printable
from leyden.data.image_files.decode import Cache
from leyden.data.image_files.listing import EXTENSIONS, list_images, split_folders, subfolders
from leyden.data.images import ImageData
from leyden.data.large import take
from leyden.data.loaders import Batch
from leyden.errors import UserError

SHOWN = 3  # broken files that an error names


@dataclass(kw_only=True, eq=False, repr=False)
class Folder(ImageData):
    """Folder: your own images, one folder per class.

    Args:
        root: folder that contains class folders, or folders train, val and test that contain class folders.
        shape: [C, H, W] to which every image is resized, see `image_files.decode`. C is 1 (grey) or 3 (colour).
        classes: names of the class folders. A label is a position in this list.
        cache: folder for the decoded images. It is outside of `root`: other programs would treat it as a class.
        test_fraction: fraction of the images that is the test set if there is no test folder.
        skip_broken: whether files that cannot be read as images are left out with a warning. Otherwise they are an
            error.
    """

    classes: Sequence[str]
    cache: str
    test_fraction: float
    skip_broken: bool
    verify: bool = field(default=True, init=False)  # there are no published files
    download: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        check(
            len(self.shape) == 3 and self.shape[0] in (1, 3),
            f"shape: got {list(self.shape)}, expected [channels, height, width] with 1 channel (grey) or 3 (colour)",
        )
        check(0 < self.test_fraction < 1, f"test_fraction: got {self.test_fraction}, must be between 0 and 1")
        super().__post_init__()
        check(
            len(self.classes) == self.num_classes,
            f"classes: got {len(self.classes)} names, but data.num_classes is {self.num_classes}",
        )
        resolved = self.root_folder.resolve()
        name = f"{resolved.name}-{blake2b(bytes(resolved), digest_size=4).hexdigest()}"
        self.cache_folder = Path(self.cache).expanduser() / name

    def class_names(self) -> tuple[str, ...]:
        return tuple(self.classes)

    def files(self) -> Sequence[Path]:
        return [self.root_folder]

    @cached_property
    def caches(self) -> dict[str, Cache]:
        """Split → its images. They are listed once: a file that is added during a run is used in the next run.

        Raises:
            UserError: the folders do not fit the config.
        """
        folders = split_folders(self.root)
        if "val" in folders and self.num_folds:
            raise UserError(f"data.num_folds: must be 0, because {folders['val']} is the validation set")
        caches, others = {}, Counter[str]()
        size = "x".join(map(str, self.shape))
        for split, folder in folders.items():
            images, left_out = list_images(folder, self.classes)
            missing = sorted(set(range(self.num_classes)) - {image.label for image in images})
            if missing and (split == "train" or not images):
                raise UserError(f"data.root: {folder / self.classes[missing[0]]} holds no images{_kinds(left_out)}")
            caches[split] = Cache(self.cache_folder / f"{split}-{size}.npz", images, self.shape, folder)
            others += left_out
        unused = sorted(set(subfolders(self.root_folder)) - {folder.name for folder in folders.values()})
        if unused and folders["train"] != self.root_folder:
            warnings.warn(f"data.root: these folders next to train are not used: {', '.join(unused)}", stacklevel=2)
        if others:
            warnings.warn(
                f"data.root: {others.total()} files in {self.root} are left out{_kinds(others)}", stacklevel=2
            )
        return caches

    def prepare_data(self) -> None:
        """Decode all images that are not in the cache, so that a broken test image is found before the training.

        Raises:
            UserError: a file is broken, unless `skip_broken`.
        """
        broken = [
            f"{printable(cache.files[position].path)} ({printable(reason)})"
            for cache in self.caches.values()
            for position, reason in cache.broken().items()
        ]
        if not broken:
            return
        more = f"; and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        found = f"data.root: {len(broken)} broken images: {'; '.join(broken[:SHOWN])}{more}"
        if not self.skip_broken:
            raise UserError(f"{found}; data.skip_broken=true leaves them out")
        warnings.warn(f"{found}; they are left out because data.skip_broken=true", stacklevel=2)

    def setup(self, stage: str) -> None:
        """Decode what is not in the cache, then read what `stage` needs."""
        self.prepare_data()
        super().setup(stage)

    def read(self, train: bool) -> Batch:
        if not train and "test" in self.caches:
            return self._decoded("test")
        images, labels = self._decoded("train")
        chosen = self._test_mask() != train
        if train:
            self._check_enough(labels[chosen])
        return take(images, chosen), labels[chosen]

    def sample_ids(self) -> Tensor:
        return self._ids[~self._test_mask()]

    @cached_property
    def _ids(self) -> Tensor:
        return splits.identities(self.caches["train"].names())

    def _test_mask(self) -> Tensor:
        """Choose the test images from the training images, bool (N,). Choose none if there is a folder test."""
        labels = torch.from_numpy(self.caches["train"].labels())
        if "test" in self.caches:
            return torch.zeros(len(labels), dtype=torch.bool)
        return splits.hashed_fraction(self._ids, labels, self.test_fraction, self.seed, "test")

    def split(self, inputs: Tensor, targets: Tensor, ids: Tensor | None) -> tuple[Batch, Batch]:
        train, val = super().split(inputs, targets, ids)
        for label in sorted(set(targets.tolist()) - set(train[1].tolist())):
            if label != self.exclude_class:
                name = printable(self.classes[label])
                raise UserError(f"data.seed: the split leaves no image of class {name} for training; add images of it")
        return train, val

    def read_val(self) -> Batch | None:
        if "val" not in self.caches:
            return None
        images, labels = self._decoded("val")
        kept = labels != (-1 if self.exclude_class is None else self.exclude_class)
        return take(images, kept), labels[kept]

    def count_test(self) -> int:
        if "test" in self.caches:
            return len(self.caches["test"].names())
        return int(self._test_mask().sum())

    def fingerprint(self) -> str:
        """Return a hash of the names and sizes of all images."""
        files = [(split, cache.listed) for split, cache in sorted(self.caches.items())]
        return content_hash("split by hash", list(self.classes), files)

    def _decoded(self, split: str) -> Batch:
        images, labels = self.caches[split].read()
        if len(labels) == 0:
            raise UserError(f"data.root: none of the {split} images can be read")
        return torch.from_numpy(images), torch.from_numpy(labels)

    def _check_enough(self, labels: Tensor) -> None:
        least = 1 if "val" in self.caches else 2
        num, label = torch.bincount(labels, minlength=self.num_classes).min(0)
        if num < least:
            raise UserError(
                f"data.root: class {self.classes[int(label)]} has too few images: {num} for training"
                f"{'' if least == 1 else ' and validation'}, at least {least} are needed"
            )


def _kinds(others: Counter[str]) -> str:
    """Return a text such as `` (3 .txt, 1 .csv; images are .avif, .bmp, …)``, or an empty text."""
    if not others:
        return ""
    found = ", ".join(f"{num} {extension or 'without an extension'}" for extension, num in others.most_common())
    return f" ({found}; images are {' '.join(EXTENSIONS)})"
