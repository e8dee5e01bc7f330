"""IMDB (Maas et al., 2011): reviews of films, positive or negative, in the authors' layout.

Files: ``root/aclImdb/train/pos/*.txt`` and so on, as the official archive contains them.
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from filelock import FileLock
from torch import Tensor

from leyden.data.archives import regular_files
from leyden.data.datamodule import check
from leyden.data.download import Published, download, md5
from leyden.data.file_access import read_utf8
from leyden.data.text_folders import text_files
from leyden.data.texts import TextData
from leyden.errors import UserError
from leyden.records.run_folder import refuse_link, sync_directory

ARCHIVE, ARCHIVE_AS = "aclImdb_v1.tar.gz", Published(84_125_825, "7c2ac02c03563afcf9b574c7e56c153a")
MAX_UNPACKED = 1_000_000_000  # bytes, more than the published archive contains
MAX_MEMBERS = 200_000  # of the archive; the published one has about 100,000
NUM_PER_CLASS = 12_500  # reviews in each of the four folders
MAX_REVIEW = 1_000_000  # bytes
MEMBER = re.compile(r"aclImdb/(train|test)/(neg|pos)/\w+\.txt", re.ASCII)  # the archive also has unlabelled reviews


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
        """Make sure that all reviews are there. If several runs start at once, one downloads and the others wait."""
        if not self.folder.exists():
            try:
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(self.folder.parent / ".lock"):
                    if not self.folder.exists():
                        self._fetch()
            except OSError as error:
                raise UserError(f"data.root: cannot write to {self.folder.parent} ({error.strerror})") from error
        for folder in self.files():
            if not folder.is_dir():
                raise UserError(f"data.root: there is no folder {folder}; delete {self.folder} to download it again")
            self._check_number(folder, len(text_files(folder, "data.root")))

    def _fetch(self) -> None:
        archive = self.folder.parent / ARCHIVE
        if not archive.exists():
            mirrors = self.mirrors if self.download else ()
            download(ARCHIVE, mirrors, archive.parent, ARCHIVE_AS, wanted=str(self.folder))
        elif self.verify and (found := md5(archive)) != ARCHIVE_AS.md5:
            raise UserError(f"{archive}: MD5 is {found}, published is {ARCHIVE_AS.md5}; delete the archive")
        unpack(archive, self.folder)

    def _check_number(self, folder: Path, num: int) -> None:
        if not num:
            raise UserError(f"data.root: {folder} contains no .txt files")
        if num == NUM_PER_CLASS:
            return
        if self.verify:
            raise UserError(
                f"data.root: {folder} contains {num:,} reviews, published are {NUM_PER_CLASS:,}; "
                "data.verify=false takes them as they are"
            )
        self.verified = False

    def count_test(self) -> int:
        return sum(len(text_files(folder, "data.root")) for folder in self.files()[2:])

    def stamp(self, train: bool) -> object:
        folders = self.files()[:2] if train else self.files()[2:]
        entries = [(entry.path, entry.stat()) for folder in folders for entry in text_files(folder, "data.root")]
        return [(path, found.st_size, found.st_mtime_ns) for path, found in entries]

    def read_texts(self, train: bool) -> tuple[list[str], Tensor]:
        texts, labels = [], []
        for label, folder in enumerate(self.files()[:2] if train else self.files()[2:]):
            paths = [Path(entry.path) for entry in text_files(folder, "data.root")]
            found = [clean(read_utf8(path, "data.root", MAX_REVIEW)) for path in paths]
            texts += found
            labels += [label] * len(found)
        return texts, torch.tensor(labels)

    def text_of(self, item: Any) -> str:
        return clean(super().text_of(item))


def clean(review: str) -> str:
    """Return a review without its line breaks."""
    return review.replace("<br />", " ")


def unpack(archive: Path, folder: Path) -> None:
    """Extract the labelled reviews of the archive to `folder`, which appears when it is complete.

    Only regular files with the names of reviews are written. Links, other names and absolute paths are passed over.

    Raises:
        UserError: the archive is damaged, or contains no reviews, or more than the published one.
    """
    partial, seen = folder.with_name(f"{folder.name}.partial"), set[str]()
    refuse_link(partial)
    shutil.rmtree(partial, ignore_errors=True)  # left behind by a process that was killed
    for name, content in regular_files(archive, MEMBER.fullmatch, MAX_UNPACKED, MAX_MEMBERS):
        if name not in seen:
            path = partial.joinpath(*name.split("/")[1:])
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
            seen.add(name)
    if not seen:
        raise UserError(f"{archive}: contains no reviews; delete the archive")
    partial.replace(folder)
    sync_directory(folder.parent)
