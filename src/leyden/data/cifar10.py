"""CIFAR-10 (Krizhevsky, 2009), read from the author's files.

Files: ``root/cifar-10-batches-py/*``, pickles of Python 2, in the same place as torchvision stores them. The unpickler
accepts numpy arrays and plain values only, so an untrusted file cannot run code.
"""

import pickle
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from leyden.data.download import download, md5
from leyden.data.images import ImageData
from leyden.data.loaders import Batch
from leyden.errors import UserError

ARCHIVE, ARCHIVE_MD5 = "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"
TRAIN_FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
TEST_FILES = {"test_batch": "40351d587109b95175f43aff81a1287e"}


@dataclass(kw_only=True, eq=False, repr=False)
class CIFAR10(ImageData):
    """CIFAR-10: 50,000 + 10,000 photographs, 32x32 colour, ten classes.

    Args:
        mirrors: addresses to download from, each ending in a slash.
    """

    names: ClassVar[tuple[str, ...]] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
    )  # fmt: skip

    mirrors: Sequence[str]

    @property
    def folder(self) -> Path:
        return self.root_folder / "cifar-10-batches-py"

    def files(self) -> Sequence[Path]:
        return [self.folder / name for name in TRAIN_FILES | TEST_FILES]

    def fetch(self) -> None:
        missing = [path for path in self.files() if not path.exists()]
        archive = self.root_folder / ARCHIVE
        if missing and not archive.exists():
            mirrors = self.mirrors if self.download else ()
            download(ARCHIVE, mirrors, self.root_folder, ARCHIVE_MD5, wanted=str(missing[0]))
        _unpack(archive, missing)

    def read(self, train: bool) -> Batch:
        parts = [self._read_file(name, checksum) for name, checksum in (TRAIN_FILES if train else TEST_FILES).items()]
        images = torch.cat([images for images, _ in parts])
        return images, torch.cat([labels for _, labels in parts])

    def _read_file(self, name: str, checksum: str) -> Batch:
        path = self.folder / name
        if (found := md5(path)) != checksum:
            self.unverified(f"{path}: MD5 is {found}, published is {checksum}")
        try:
            with path.open("rb") as file:
                batch = ArrayUnpickler(file, encoding="bytes").load()
            images = torch.from_numpy(np.array(batch[b"data"], dtype=np.uint8)).view(-1, 3, 32, 32)
            labels = torch.tensor(batch[b"labels"], dtype=torch.int64)
        except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{path}: is not a CIFAR-10 batch or is damaged ({error})") from error
        if len(images) != len(labels):
            raise UserError(f"{path}: holds {len(images)} images but {len(labels)} labels")
        return images, labels


class ArrayUnpickler(pickle.Unpickler):
    """Accepts numpy arrays and plain values. Everything else that a pickle could call raises `UnpicklingError`."""

    ACCEPTED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ACCEPTED:
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which is not allowed")
        # numpy renamed its private modules: the name in old pickles can still be imported, but with a warning
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _unpack(archive: Path, paths: Sequence[Path]) -> None:
    try:
        with tarfile.open(archive) as tar:
            for path in paths:
                source = tar.extractfile(f"{path.parent.name}/{path.name}")
                if source is None:
                    raise UserError(f"{archive}: {path.name} inside it is not a file; delete the archive")
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_name(f"{path.name}.partial")
                with source, partial.open("wb") as target:
                    shutil.copyfileobj(source, target)
                partial.replace(path)
    except (tarfile.TarError, KeyError, EOFError, zlib.error) as error:
        raise UserError(f"{archive}: is damaged ({error}); delete the archive") from error
