"""Finding images in class folders. Imports no torch, since a config counts the classes before anything is built."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from leyden.errors import UserError

PARTS = ("train", "val", "test")
EXTENSIONS = (
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"
)  # fmt: skip


class ImageFile(NamedTuple):
    path: str
    label: int
    size: int  # bytes
    modified: int  # nanoseconds


def part_folders(root: str | Path) -> dict[str, Path]:
    """Part → the folder that holds its class folders.

    They are the folders train, val and test in `root`, of which train alone must be there; without one, `root` itself
    is train. A folder named train that holds no folders is a class of that name.

    Raises:
        UserError: there is no `root`.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}; it must hold a folder of images for each class")
    if not subfolders(root / "train"):
        return {"train": root}
    return {part: root / part for part in PARTS if (root / part).is_dir()}


def class_names(root: str | Path) -> list[str]:
    """The names of the class folders below `root`, sorted; a label is a position in this list.

    Raises:
        UserError: there are fewer than two.
    """
    folder = part_folders(root)["train"]
    names = subfolders(folder)
    if len(names) < 2:
        found = f"only one class folder, {names[0]}" if names else "no class folders"
        raise UserError(f"data.root: {folder} holds {found}; it must hold a folder of images for each class")
    return names


def subfolders(folder: Path) -> list[str]:
    """The sorted names of the folders in `folder`, if it is one; hidden ones do not count."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def list_images(folder: Path, classes: Sequence[str]) -> tuple[list[ImageFile], Counter[str]]:
    """The images in the class folders of `folder`, at any depth, in the order of class and path.

    Returns:
        the images, and how many files there are of each extension that is none of `EXTENSIONS`.

    Raises:
        UserError: a folder is of no class, or a file cannot be looked at.
    """
    images: list[ImageFile] = []
    others: Counter[str] = Counter()
    for name in subfolders(folder):
        if name not in classes:
            raise UserError(f"data.root: {folder / name} is a folder of no class; the classes are {', '.join(classes)}")
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
