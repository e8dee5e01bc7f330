"""Find images in class folders. Does not import torch, because composing a config counts the classes."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from leyden.errors import UserError

SPLITS = ("train", "val", "test")
EXTENSIONS = (
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"
)  # fmt: skip


class ImageFile(NamedTuple):
    path: str
    label: int
    size: int  # bytes
    modified: int  # nanoseconds


def split_folders(root: str | Path) -> dict[str, Path]:
    """Return split → the folder that contains its class folders.

    These are the folders train, val and test in `root`; val and test are optional. If there is no folder train, `root`
    itself contains the class folders. A folder named train that contains no folders is a class of that name.

    Raises:
        UserError: `root` does not exist.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}; it must contain one folder of images per class")
    if not subfolders(root / "train"):
        return {"train": root}
    return {split: root / split for split in SPLITS if (root / split).is_dir()}


def class_names(root: str | Path) -> list[str]:
    """Return the sorted names of the class folders in `root`. A label is a position in this list.

    Raises:
        UserError: there are fewer than two classes.
    """
    folder = split_folders(root)["train"]
    names = subfolders(folder)
    if len(names) < 2:
        found = f"only one class folder, {names[0]}" if names else "no class folders"
        raise UserError(f"data.root: {folder} contains {found}; it must contain one folder of images per class")
    return names


def subfolders(folder: Path) -> list[str]:
    """Return the sorted names of the folders in `folder`, without hidden ones. Empty if `folder` is not a folder."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def list_images(folder: Path, classes: Sequence[str]) -> tuple[list[ImageFile], Counter[str]]:
    """List the images in the class folders of `folder`, at any depth, ordered by class and path.

    Returns:
        the images, and the number of other files by extension.

    Raises:
        UserError: a folder is not one of the classes, or a file cannot be accessed.
    """
    images: list[ImageFile] = []
    others: Counter[str] = Counter()
    for name in subfolders(folder):
        if name not in classes:
            raise UserError(f"data.root: {folder / name} is not one of the classes, which are {', '.join(classes)}")
    for label, name in enumerate(classes):
        for entry in _files(folder / name) if (folder / name).is_dir() else ():
            extension = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 (a Path for each takes twice as long)
            if extension not in EXTENSIONS:
                others[extension] += 1
                continue
            try:
                found = entry.stat()
            except OSError as error:
                raise UserError(f"data.root: cannot read {entry.path} ({error.strerror})") from error
            images.append(ImageFile(entry.path, label, found.st_size, found.st_mtime_ns))
    return images, others


def _files(folder: str | Path) -> Iterator["os.DirEntry[str]"]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"data.root: cannot read {folder} ({error.strerror})") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(entry.path)
        else:
            yield entry
