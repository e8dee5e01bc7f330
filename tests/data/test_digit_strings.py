"""Digit strings: their digits, positions and targets."""

from typing import Any

import pytest
import torch

from leyden.errors import UserError
from tests.data.building import build_data


def strings(*overrides: str) -> Any:
    return build_data("digit_strings", "data.num_train=300", "data.num_eval=200", *overrides)


def test_digits_then_the_end_then_nothing() -> None:
    found = strings().targets(torch.tensor([[7, 7, -1, -1], [0, 9, 3, 1]]))
    assert found.tolist() == [[7, 7, 10, -1, -1], [0, 9, 3, 1, 10]]


def test_digits_follow_each_other_from_the_left_and_stay_inside() -> None:
    corners = strings().corners(500, torch.Generator().manual_seed(0))
    assert corners.shape == (500, 4, 2)
    top, left = corners.unbind(2)
    assert set(top.flatten().tolist()) == set(range(32 - 28 + 1))
    assert set(left.diff().flatten().tolist()) == {22, 23, 24, 25, 26}
    assert left[:, 0].min() == 0
    assert left.max() <= 112 - 28


def test_the_text_is_what_the_image_shows() -> None:
    """Each source image is filled with its label, and none meets another, so an image shows its text."""
    data = strings("data.spacing=32", "data.shape=[1,28,140]", "data.jitter=0")
    labels = torch.arange(10).repeat(5)
    images = (labels + 1).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 28, 28)
    augment = data.augmentation(images, labels)
    images, texts = augment(torch.arange(50), *augment.draw(50, torch.Generator().manual_seed(1)))
    lengths = set()
    for image, text, first in zip(images, texts.tolist(), labels.tolist(), strict=True):
        line = image[0, 14].long()
        starts = (line.diff(prepend=torch.zeros(1)) > 0).nonzero().flatten()
        shown = [int(line[start]) - 1 for start in starts]
        assert shown[0] == first
        assert text == [*shown, 10, *[-1] * (4 - len(shown))]
        lengths.add(len(shown))
    assert lengths == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.jitter=25", "data.jitter: got 25, must be between 0 and the spacing, 24 pixels"),
        ("data.max_digits=5", r"data.shape: got \[1, 32, 112\], but 5 digits need 28 rows and 132 columns"),
        ("data.shape=[1,20,112]", r"data.shape: got \[1, 20, 112\], but 4 digits need 28 rows and 106 columns"),
    ],
)
def test_a_wrong_value_names_its_key(override: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        strings(override)
