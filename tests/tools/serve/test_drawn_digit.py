"""A drawn digit becomes an image like those of its data set."""

import io

import numpy as np
import pytest
from PIL import Image

from leyden.config.builders import build_data
from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.tools.serve.drawn_digit import (
    DIGITS_STYLE,
    MNIST_STYLE,
    can_draw,
    centred,
    drawing_style,
    pen,
    prepare_drawing,
)
from tests.tools.conftest import Models


def canvas(top: int, left: int, height: int, width: int) -> np.ndarray:
    drawn = np.zeros((280, 280), np.uint8)
    drawn[top : top + height, left : left + width] = 255
    return drawn


def extent(image: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


@pytest.mark.parametrize("place", [(0, 0), (10, 200), (80, 120)])
def test_a_digit_of_mnist_fits_into_20_pixels_around_its_centre_of_mass(place: tuple[int, int]) -> None:
    image = centred(canvas(*place, 200, 50), MNIST_STYLE)
    assert image.shape == (28, 28)
    assert extent(image) == (4, 23, 12, 16)  # 20 x 5 pixels, in the middle
    heavy_below = canvas(0, 0, 200, 20) | canvas(150, 0, 50, 60)
    rows = centred(heavy_below, MNIST_STYLE).sum(1)
    assert (rows * np.arange(28)).sum() / rows.sum() == pytest.approx(14, abs=0.6)


def test_a_digit_of_scikit_learn_fills_8_pixels() -> None:
    assert extent(centred(canvas(20, 20, 240, 120), DIGITS_STYLE)) == (0, 7, 2, 5)
    assert extent(centred(canvas(20, 20, 1, 280 - 20), DIGITS_STYLE))[2:] == (0, 7)


def test_enlarged_images_of_scikit_learn_become_what_they_were() -> None:
    digits = build_data(compose("data=digits", "model=mlp"))
    images = digits.read(train=False)[0][:50, 0].numpy()
    differences = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).resize((280, 280)).save(buffer, format="png")
        again = prepare_drawing(buffer.getvalue(), digits)
        shifted = [np.roll(again, columns, 1) for columns in range(-4, 5)]
        differences.append(min(np.abs(one.astype(int) - image).mean() for one in shifted) / image.mean())
    assert np.mean(differences) < 0.35  # they lost some sharpness when they were enlarged


def test_a_dot_stays_inside() -> None:
    assert centred(canvas(279, 279, 1, 1), MNIST_STYLE).sum() > 0


def test_which_data_sets_can_be_drawn() -> None:
    digits, mnist = (build_data(compose(f"data={name}", "model=mlp")) for name in ("digits", "mnist"))
    assert drawing_style(digits) is DIGITS_STYLE
    assert drawing_style(mnist) is MNIST_STYLE
    strings = build_data(compose("data=digit_strings", "model=mlp"))
    assert drawing_style(strings) is None
    assert can_draw(strings)
    assert pen(strings) == 4 / 32
    assert not can_draw(build_data(compose("data=cifar10", "model=mlp")))


def test_drawings_are_prepared_for_the_data_set(model_of: Models) -> None:
    buffer = io.BytesIO()
    Image.fromarray(canvas(100, 100, 60, 20)).save(buffer, format="png")
    pixels = prepare_drawing(buffer.getvalue(), model_of("classification").data)
    assert pixels.shape == (28, 28)
    assert extent(pixels)[:2] == (0, 27)
    strings = model_of("transcription").data
    assert prepare_drawing(buffer.getvalue(), strings).shape == tuple(strings.shape[1:])
    empty = io.BytesIO()
    Image.new("L", (280, 280)).save(empty, format="png")
    with pytest.raises(UserError, match="drawing: is empty"):
        prepare_drawing(empty.getvalue(), strings)
