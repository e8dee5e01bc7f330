"""CIFAR-10 (Krizhevsky, 2009), read from the author's files.

Files: ``root/cifar-10-batches-py/*``, pickles of Python 2, in the same place as torchvision stores them. They are read
without the pickle module, see `leyden.data.array_pickle`, so an untrusted file cannot run code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from leyden.data.archives import regular_files
from leyden.data.array_pickle import PickleError, read_pickle
from leyden.data.download import Published, download
from leyden.data.images import ImageData
from leyden.data.loaders import Batch
from leyden.errors import UserError
from leyden.records.run_folder import writing

ARCHIVE, ARCHIVE_AS = "cifar-10-python.tar.gz", Published(170_498_071, "c58f30108f718f92721af3b95e74349a")
MAX_UNPACKED = 200_000_000  # bytes; the published archive contains 186 million
MAX_MEMBERS = 100  # of the archive; the published one has 9
TRAIN_FILES = {
    "data_batch_1": Published(31_035_704, "c99cafc152244af753f735de768cd75f"),
    "data_batch_2": Published(31_035_320, "d4bba439e000b95fd0a9bffe97cbabec"),
    "data_batch_3": Published(31_035_999, "54ebc095f3ab1f0389bbae665268c751"),
    "data_batch_4": Published(31_035_696, "634d18415352ddfa80567beed471001a"),
    "data_batch_5": Published(31_035_623, "482c414d41f54cd18b22e5b47cb7c3cb"),
}
TEST_FILES = {"test_batch": Published(31_035_526, "40351d587109b95175f43aff81a1287e")}


@dataclass(kw_only=True, eq=False, repr=False)
class CIFAR10(ImageData):
    """CIFAR-10: 50,000 + 10,000 photographs, 32x32 colour, ten classes.

    Args:
        mirrors: addresses to download from, each ending in a slash.
    """

    names: ClassVar[tuple[str, ...]] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
    )  # fmt: skip

    published: ClassVar[Mapping[str, Published]] = TRAIN_FILES | TEST_FILES

    mirrors: Sequence[str]

    @property
    def folder(self) -> Path:
        return self.root_folder / "cifar-10-batches-py"

    def fetch(self) -> None:
        missing = [path for path in self.files() if not path.exists()]
        archive = self.root_folder / ARCHIVE
        if missing and not archive.exists():
            mirrors = self.mirrors if self.download else ()
            download(ARCHIVE, mirrors, self.root_folder, ARCHIVE_AS, wanted=str(missing[0]))
        unpack(archive, missing)

    def count_test(self) -> int | None:
        return 10_000 if self.verified else None

    def read(self, train: bool) -> Batch:
        parts = [self._read_batch(self.folder / name) for name in (TRAIN_FILES if train else TEST_FILES)]
        images = torch.cat([images for images, _ in parts])
        return images, torch.cat([labels for _, labels in parts])

    def _read_batch(self, path: Path) -> Batch:
        try:
            batch = read_pickle(self.read_file(path))
            images, labels = batch[b"data"], batch[b"labels"]
        except (PickleError, KeyError) as error:
            raise UserError(f"{path}: is not a CIFAR-10 batch or is damaged ({error})") from error
        if not isinstance(images, np.ndarray) or images.shape[1:] != (3 * 32 * 32,):
            raise UserError(f"{path}: is not a CIFAR-10 batch (its images do not have 3x32x32 pixels)")
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise UserError(f"{path}: is not a CIFAR-10 batch (its labels are not a list of numbers)")
        if len(images) != len(labels):
            raise UserError(f"{path}: holds {len(images)} images but {len(labels)} labels")
        return torch.from_numpy(images.copy()).view(-1, 3, 32, 32), torch.tensor(labels, dtype=torch.int64)


def unpack(archive: Path, paths: Sequence[Path]) -> None:
    """Extract the files `paths` from the archive; links in it are not followed.

    Raises:
        UserError: the archive is damaged, or contains more than the published one.
    """
    wanted = {f"{path.parent.name}/{path.name}": path for path in paths}
    for name, payload in regular_files(archive, wanted.__contains__, MAX_UNPACKED, MAX_MEMBERS):
        path = wanted.pop(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as target:
            target.write(payload)
    if wanted:
        raise UserError(f"{archive}: does not contain {', '.join(wanted)}; delete the archive")
