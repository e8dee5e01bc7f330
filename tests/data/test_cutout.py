"""Squares of images that are filled."""

import pytest
import torch

from leyden.data.cutout import Cutout
from leyden.data.loaders import ShiftAndFlip
from leyden.errors import UserError
from tests.data.building import CPU, build_data


def test_a_square_around_the_centre_is_filled_and_cut_off_at_the_border() -> None:
    images = torch.full((2, 2, 4, 5), 9, dtype=torch.uint8)
    augment = Cutout(ShiftAndFlip(images, torch.tensor([7, 8]), 0, False), 2, (2, 4, 5), (0.0, 1.0), CPU)
    index, moves = torch.tensor([1, 0]), ShiftAndFlip(images, images, 0, False).draw(2, torch.Generator())
    found, targets = augment(index, *moves, torch.tensor([[1], [3]]), torch.tensor([[0], [4]]))
    assert targets.tolist() == [8, 7]
    expected = images.clone()
    expected[0, 0, :2, :1], expected[0, 1, :2, :1] = 0, 255  # rows 0 and 1; columns -1 and 0
    expected[1, 0, 2:, 3:], expected[1, 1, 2:, 3:] = 0, 255
    assert torch.equal(found, expected)


def test_the_centres_are_random_and_of_this_epoch() -> None:
    data = build_data("synthetic", "data.cutout=5", "data.flip=alternate", "data.shift=1", "data.rotate=5")
    data.setup("fit")
    first, again, other = (
        next(iter(data.train_dataloader()))[0]
        for data.position in (lambda: (0, 0), lambda: (0, 0), lambda: (1, 0))
    )  # fmt: skip
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("cutout", [-1, 40])
def test_a_size_must_fit_the_image(cutout: int) -> None:
    with pytest.raises(UserError, match=rf"^data.cutout: got {cutout}, must be between 0 and \d+ pixels"):
        build_data("mnist", f"data.cutout={cutout}")
