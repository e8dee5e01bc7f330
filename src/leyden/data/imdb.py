"""IMDB (Maas et al., 2011): reviews of films, positive or negative, in the authors' layout.

Files: ``root/aclImdb/train/pos/*.txt`` and so on, as the official archive contains them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from leyden.data.datamodule import check
from leyden.data.file_access import read_utf8
from leyden.data.text_folders import text_files
from leyden.data.texts import TextData
from leyden.errors import UserError

NUM_PER_CLASS = 12_500  # reviews in each of the four folders
MAX_REVIEW = 1_000_000  # bytes


@dataclass(kw_only=True, eq=False, repr=False)
class IMDB(TextData):
    """IMDB: 25,000 + 25,000 reviews of films, positive or negative. Their line breaks, ``<br />``, become spaces.

    Args:
        root: the folder that contains the folder aclImdb.
        mirrors: addresses to download from, each ending in a slash.
        verify: whether a wrong checksum of the archive, or a wrong number of reviews, is an error.
        download: whether the archive may be downloaded.
    """

    names: ClassVar[tuple[str, ...]] = ("neg", "pos")

    root: str
    mirrors: Sequence[str]
    verify: bool
    download: bool

    def __post_init__(self) -> None:
        check(self.num_classes == 2, f"num_classes: got {self.num_classes}, must be 2")
        super().__post_init__()

    @property
    def folder(self) -> Path:
        return Path(self.root).expanduser() / "aclImdb"

    def files(self) -> Sequence[Path]:
        return [self.folder / split / name for split in ("train", "test") for name in self.names]

    def prepare_data(self) -> None:
        """Make sure that all reviews are there."""
        for folder in self.files():
            if not folder.is_dir():
                raise UserError(f"data.root: there is no folder {folder}")
            num = len(text_files(folder, "data.root"))
            if not num:
                raise UserError(f"data.root: {folder} contains no .txt files")
            if self.verify and num != NUM_PER_CLASS:
                raise UserError(
                    f"data.root: {folder} contains {num:,} reviews, published are {NUM_PER_CLASS:,}; "
                    "data.verify=false takes them as they are"
                )
            self.verified = self.verified and num == NUM_PER_CLASS

    def count_test(self) -> int:
        return sum(len(text_files(folder, "data.root")) for folder in self.files()[2:])

    def stamp(self, train: bool) -> object:
        folders = self.files()[:2] if train else self.files()[2:]
        entries = [(entry.path, entry.stat()) for folder in folders for entry in text_files(folder, "data.root")]
        return [(path, found.st_size, found.st_mtime_ns) for path, found in entries]

    def read_texts(self, train: bool) -> tuple[list[str], Tensor]:
        texts, labels = [], []
        for label, folder in enumerate(self.files()[:2] if train else self.files()[2:]):
            found = [self._review(Path(entry.path)) for entry in text_files(folder, "data.root")]
            texts += found
            labels += [label] * len(found)
        return texts, torch.tensor(labels)

    def _review(self, path: Path) -> str:
        return read_utf8(path, "data.root", MAX_REVIEW).replace("<br />", " ")
