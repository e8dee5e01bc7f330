"""Find images in class folders. Does not import torch, because composing a config counts the classes."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from leyden.errors import UserError

# split → names of its folder, in lower case
SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "eval"),
    "test": ("test", "testing"),
}
EXTENSIONS = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif",
    ".tiff", ".webp",
)  # fmt: skip


class ImageFile(NamedTuple):
    path: str
    label: int
    size: int  # bytes
    modified: int  # nanoseconds


def split_folders(root: str | Path) -> dict[str, Path]:
    """Return split → the folder that contains its class folders.

    The names of these folders in `root` are listed in `SPLITS`, in upper or lower case; val and test are optional. If
    there is no folder train, `root` itself contains the class folders. A folder named train that contains no folders is
    a class of that name.

    Raises:
        UserError: `root` does not exist, or its folders contradict each other.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}; it must contain one folder of images per class")
    folders = {}
    for split, names in SPLITS.items():
        found = [name for name in subfolders(root) if name.lower() in names and subfolders(root / name)]
        if len(found) > 1:
            raise UserError(f"data.root: {root} contains {found[0]} and {found[1]}; there must be one folder {split}")
        if found:
            folders[split] = root / found[0]
    if folders and "train" not in folders:
        raise UserError(f"data.root: {root} contains {next(iter(folders.values())).name} but no folder train")
    return folders or {"train": root}


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
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"data.root: cannot read {folder} ({error.strerror})") from error


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
            if not stat.S_ISREG(found.st_mode):  # reading a pipe or a device may never end
                raise UserError(f"data.root: {entry.path} is not a regular file")
            images.append(ImageFile(entry.path, label, found.st_size, found.st_mtime_ns))
    return images, others


def _files(folder: str | Path) -> Iterator["os.DirEntry[str]"]:
    """Iterate over the files in `folder` at any depth. A folder that several links lead to is listed once."""
    seen: set[tuple[int, int]] = set()
    waiting = _entries(folder, seen)
    while waiting:
        entry = waiting.pop()
        try:
            is_folder = entry.is_dir()
        except OSError as error:  # a link to itself
            raise UserError(f"data.root: cannot read {entry.path} ({error.strerror})") from error
        if is_folder:
            waiting += _entries(entry.path, seen)
        else:
            yield entry


def _entries(folder: str | Path, seen: set[tuple[int, int]]) -> list["os.DirEntry[str]"]:
    """List `folder` in reverse order, without hidden files. Empty if the folder was `seen` before."""
    try:
        found = Path(folder).stat()
        if (found.st_dev, found.st_ino) in seen:
            return []
        seen.add((found.st_dev, found.st_ino))
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"data.root: cannot read {folder} ({error.strerror})") from error
    return sorted(visible, key=lambda entry: entry.name, reverse=True)
