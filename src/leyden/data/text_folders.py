"""Read texts from class folders: one .txt file per text. Does not import torch."""

import os
from collections.abc import Iterator
from pathlib import Path

from leyden.data.file_access import read_utf8
from leyden.data.image_files.listing import subfolders
from leyden.errors import UserError

MAX_TEXT = 50_000_000  # bytes of a file
SPLITS = ("train", "test")


def split_folder(root: Path, split: str) -> Path | None:
    """Return the folder that contains the class folders of a split, None if the folder has no such split.

    ``root/train`` and ``root/test`` if they contain folders; otherwise `root` is the training set.
    """
    if subfolders(root / split):
        return root / split
    return root if split == "train" or not subfolders(root / "train") else None


def folder_classes(root: Path) -> list[str]:
    """Return the names of the class folders of the training set.

    Raises:
        UserError: there are fewer than two.
    """
    folder = split_folder(root, "train")
    assert folder is not None
    names = subfolders(folder)
    if len(names) < 2:
        found = f"only one class folder, {names[0]}" if names else "no class folders"
        raise UserError(f"data.path: {folder} contains {found}; it must contain one folder of .txt files per class")
    return names


def text_files(folder: Path, key: str) -> list["os.DirEntry[str]"]:
    """Return the .txt files directly in a folder, sorted by name. Others, hidden ones and links are left out."""
    try:
        with os.scandir(folder) as entries:
            found = [one for one in entries if one.name.endswith(".txt") and one.is_file(follow_symlinks=False)]
    except OSError as error:
        raise UserError(f"{key}: cannot read {folder} ({error.strerror})") from error
    return sorted((one for one in found if not one.name.startswith(".")), key=lambda one: one.name)


def listed(folder: Path, key: str) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Yield the class and the entry of each text in the class folders of `folder`."""
    for name in subfolders(folder):
        for entry in text_files(folder / name, key):
            yield name, entry


def class_texts(root: Path, split: str, key: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the texts, classes and paths of a split.

    Raises:
        UserError: there are none, or a file is empty or cannot be read.
    """
    folder = split_folder(root, split)
    found = list(listed(folder, key)) if folder else []
    if not found:
        raise UserError(f"{key}: {folder or root} contains no .txt files in class folders")
    texts = [read_utf8(Path(entry.path), key, MAX_TEXT).strip() for _, entry in found]
    paths = tuple(entry.path for _, entry in found)
    if "" in texts:
        raise UserError(f"{key}: {paths[texts.index('')]} is empty. Remove the file")
    return tuple(texts), tuple(name for name, _ in found), paths
