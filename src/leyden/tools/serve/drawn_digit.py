"""Convert a digit that was drawn on a large canvas to an image like those that a model was trained on.

This is the only place that does it. The page sends the canvas as it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leyden.data.composed import MultiDigitData
from leyden.data.datamodule import InMemoryData
from leyden.data.digits import Digits
from leyden.data.image_files.decode import decode
from leyden.errors import UserError

CANVAS = 560  # largest side of a canvas that is sent, in pixels
DIGIT_SHAPE = (1, 28, 28)


@dataclass(frozen=True)
class DrawingStyle:
    """How the images of a data set of digits look.

    Args:
        side: side of the square image in pixels.
        box: the longer side of the digit in pixels.
        centre: row and column of the centre of mass.
        pen: width of a stroke, as a fraction of the canvas.
    """

    side: int
    box: int
    centre: float
    pen: float


# MNIST (LeCun et al., 1998): a digit fits into 20x20 pixels, and its centre of mass is the pixel (14, 14).
MNIST_STYLE = DrawingStyle(side=28, box=20, centre=14, pen=0.08)
# scikit-learn's digits: 8x8 pixels without a margin, and thick strokes. The data set enlarges them to 28x28.
DIGITS_STYLE = DrawingStyle(side=8, box=8, centre=3.5, pen=0.15)
# Width of a stroke in composed images, in pixels, by their source.
COMPOSED_PEN = {"mnist": 2.5, "digits": 4.0}


def drawing_style(data: InMemoryData) -> DrawingStyle | None:
    """Return the style of the data set, or None if it does not have single digits of 28x28 pixels."""
    if tuple(data.shape) != DIGIT_SHAPE:
        return None
    return DIGITS_STYLE if isinstance(data, Digits) else MNIST_STYLE


def pen(data: InMemoryData) -> float:
    """Return the width of a stroke, as a fraction of the shorter side of the canvas."""
    if isinstance(data, MultiDigitData):
        return COMPOSED_PEN[data.source] / min(data.shape[1:])
    return (drawing_style(data) or MNIST_STYLE).pen


def can_draw(data: InMemoryData) -> bool:
    """Return whether a user can draw an input of this data set: one digit or, in composed images, several."""
    return drawing_style(data) is not None or isinstance(data, MultiDigitData)


def prepare_drawing(payload: bytes, data: InMemoryData) -> NDArray[np.uint8]:
    """Convert the image file of a canvas, white on black, to pixels (H, W) as in the data set.

    For single digits: crop to the bounding box, scale its longer side to `DrawingStyle.box`, and move the centre of
    mass to the centre, as far as the digit stays inside. For composed images: only scale to the size of an image.

    Raises:
        UserError: the file is not an image, or the canvas is empty.
    """
    style = drawing_style(data)
    shape = (1, CANVAS, CANVAS) if style else (1, *data.shape[1:])
    try:
        canvas: NDArray[np.uint8] = decode(payload, shape)[0]
    except ValueError as error:
        raise UserError(f"image: cannot be read ({error})") from error
    if not canvas.any():
        raise UserError("drawing: is empty. Draw white on black")
    if style is None:
        return canvas
    digit = centred(canvas, style)
    height, width = data.shape[1:]
    resized: NDArray[np.uint8] = np.array(Image.fromarray(digit).resize((width, height), Image.Resampling.BILINEAR))
    return resized


def centred(canvas: NDArray[np.uint8], style: DrawingStyle) -> NDArray[np.uint8]:
    """Canvas (H, W), not empty → digit (style.side, style.side), see `prepare_drawing`."""
    rows, columns = (np.flatnonzero(canvas.any(axis)) for axis in (1, 0))
    cropped = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = style.box / max(cropped.shape)
    height, width = (max(1, round(length * scale)) for length in cropped.shape)
    digit = np.asarray(Image.fromarray(cropped).resize((width, height), Image.Resampling.BOX))
    image = np.zeros((style.side, style.side), np.uint8)
    top, left = (_start(digit.sum(axis, dtype=np.int64), style) for axis in (1, 0))
    image[top : top + height, left : left + width] = digit
    return image


def _start(mass: NDArray[np.int64], style: DrawingStyle) -> int:
    """Return where to put a digit along an axis, so that its centre of mass is at the centre, but all of it inside.

    Args:
        mass: sum of the pixels at each position of the digit.
        style: the size of the image and its centre.
    """
    centre = float((mass * np.arange(len(mass))).sum() / max(1, int(mass.sum())))
    return min(max(round(style.centre - centre), 0), style.side - len(mass))
