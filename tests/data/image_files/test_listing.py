"""Lists of files with links, pipes and deep folders."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from leyden.data.image_files.listing import list_images
from leyden.errors import UserError
from tests.data.building import pixels, save


def names(root: Path) -> list[str]:
    images, _ = list_images(root, ["cat"])
    return [str(Path(image.path).relative_to(root / "cat")) for image in images]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save(tmp_path / "cat" / "b" / "1.png", pixels(1))
    save(tmp_path / "cat" / "a.png", pixels(2))
    save(tmp_path / "cat" / "c.png", pixels(3))
    return tmp_path


def test_files_at_any_depth_in_the_order_of_their_names(root: Path) -> None:
    folder = root / "cat"
    for _ in range(1500):  # deeper than Python's recursion limit
        folder = folder / "d"
        folder.mkdir()
    assert names(root) == ["a.png", "b/1.png", "c.png"]
    while folder != root / "cat":  # pytest cannot remove so deep a folder
        folder.rmdir()
        folder = folder.parent


def test_links_to_folders_do_not_multiply_the_files(root: Path) -> None:
    """Each of these links leads to all of them: there would be 40**40 paths."""
    for number in range(40):
        (root / "cat" / "b" / f"up{number}").symlink_to(root / "cat")
    assert names(root) == ["a.png", "b/1.png", "c.png"]


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
        (lambda path: path.symlink_to(path), r"cannot read .* \(Too many levels of symbolic links"),
        (lambda path: path.symlink_to("nowhere"), "cannot read"),
    ],
)
def test_one_line_for_what_is_no_file(root: Path, create: Callable[[Path], None], message: str) -> None:
    create(root / "cat" / "z.png")
    with pytest.raises(UserError, match=f"^data.root: .*{message}"):
        names(root)
