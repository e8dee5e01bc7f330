"""Random views of images, made on whole batches."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from leyden.data import colours
from leyden.data.loaders import Flip
from leyden.data.views import Views

IMAGES = torch.rand(64, 3, 8, 10, generator=torch.Generator().manual_seed(0)) * 255


def view(
    crop: float = 1.0,
    flip: Flip = False,
    rotate: float = 0.0,
    jitter: float = 0.0,
    grey: float = 0.0,
    blur: float = 0.0,
) -> Tensor:
    torch.manual_seed(0)
    return Views(crop, flip, rotate, jitter, grey, blur)(IMAGES)


def changed(images: Tensor) -> float:
    """Fraction of the images that differ."""
    return float((images != IMAGES).flatten(1).any(1).float().mean())


def test_without_changes_a_view_is_the_image() -> None:
    assert view().equal(IMAGES)


def test_half_of_the_images_are_mirrored_and_nothing_else() -> None:
    found = view(flip=True)
    is_same = torch.isclose(found, IMAGES, atol=1e-2).flatten(1).all(1)
    is_mirrored = torch.isclose(found, IMAGES.flip(3), atol=1e-2).flatten(1).all(1)
    assert (is_same ^ is_mirrored).all()
    assert 0.3 < is_mirrored.float().mean() < 0.7


def test_grey_views_have_equal_channels() -> None:
    found = view(grey=0.5)
    is_grey = (found == found[:, :1]).flatten(1).all(1)
    assert 0.3 < is_grey.float().mean() < 0.7
    assert found[is_grey].equal(colours.grey(IMAGES)[is_grey].expand(-1, 3, -1, -1))
    assert found[~is_grey].equal(IMAGES[~is_grey])


def test_one_image_of_five_keeps_its_colours() -> None:
    unchanged = torch.isclose(view(jitter=0.4), IMAGES, atol=1e-2).flatten(1).all(1).float().mean()
    assert 0.08 < unchanged < 0.35


def test_crops_and_blurs_stay_in_range_and_differ() -> None:
    for images in (view(crop=0.2), view(rotate=30), view(blur=1.0)):
        assert images.shape == IMAGES.shape
        assert images.min() >= -0.01
        assert images.max() <= 255.01
        assert changed(images) > 0.9  # a blur may be very small


def test_a_blur_is_that_of_torchvision() -> None:
    found = colours.blur(IMAGES, torch.full((64,), 0.8))
    expected = gaussian_blur(IMAGES, [7, 7], [0.8, 0.8])
    assert torch.allclose(
        found[..., 3:-3, 3:-3], expected[..., 3:-3, 3:-3], atol=1e-3
    )  # borders are filled differently


@pytest.mark.parametrize(
    ("name", "value"), [("crop", 0.0), ("rotate", 200.0), ("jitter", 1.5), ("grey", -0.1), ("blur", 2.0)]
)
def test_a_value_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name}: got {value}, must be "):
        view(**{name: value})
