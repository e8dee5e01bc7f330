"""Plots of a classifier as float images (3, H, W) from 0 to 1: confusion matrix and wrong predictions.

They are drawn with Pillow: importing matplotlib would take longer than an epoch of a small net.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

NUM_ERRORS = 25
SIDE = 640  # of the largest confusion matrix in pixels, without its labels
CELL = 44  # largest side of a cell
MIN_CELL_WITH_TEXT = 22
FONT_SIZE = 13
MAX_LETTERS = 18  # of a class name
AXES = "rows: true class, columns: predicted class"
TILE = 112  # side of an image of an error


def confusion_plot(counts: Tensor, names: Sequence[str]) -> Tensor:
    """Draw a confusion matrix. The darker a cell, the larger its fraction of the samples of its true class.

    Args:
        counts: int64 (K, K), rows are the true classes.
        names: names of the K classes.
    """
    font = ImageFont.load_default(FONT_SIZE)
    num = len(counts)
    cell = max(2, min(CELL, SIDE // num))
    labels = [_short(name) for name in names] if cell >= FONT_SIZE else []
    margin = max((int(font.getlength(label)) for label in labels), default=0) + 12
    bottom = margin + cell * num + 6
    width = max(margin + cell * num + 10, int(font.getlength(AXES)) + 12)
    canvas = Image.new("RGB", (width, bottom + FONT_SIZE + 10), "white")
    draw = ImageDraw.Draw(canvas)
    fractions = (counts / counts.sum(1, keepdim=True).clamp(min=1)).tolist()
    for row in range(num):
        for column in range(num):
            left, top = margin + column * cell, margin + row * cell
            fraction = fractions[row][column]
            draw.rectangle((left, top, left + cell - 2, top + cell - 2), fill=_shade(fraction))
            if cell >= MIN_CELL_WITH_TEXT and counts[row, column]:
                colour = "white" if fraction > 0.5 else "black"
                centre = (left + cell // 2, top + cell // 2)
                draw.text(centre, _count(int(counts[row, column])), colour, font, anchor="mm")
    for number, label in enumerate(labels):
        middle = margin + number * cell + cell // 2
        draw.text((margin - 6, middle), label, "black", font, anchor="rm")
        _draw_upwards(canvas, label, middle, margin - 6, font)
    draw.text((6, bottom), AXES, "grey", font)
    return _tensor(canvas)


def _short(name: str) -> str:
    return name if len(name) <= MAX_LETTERS else f"{name[: MAX_LETTERS - 1]}…"


def _count(number: int) -> str:
    return str(number) if number < 10_000 else f"{number // 1000}k"


def _shade(fraction: float) -> tuple[int, int, int]:
    """Return a colour between light grey (0) and dark blue (1)."""
    light, dark = (243, 244, 246), (18, 66, 130)
    red, green, blue = (round(a + (b - a) * fraction) for a, b in zip(light, dark, strict=True))
    return red, green, blue


def _draw_upwards(canvas: Image.Image, text: str, x: int, bottom: int, font: Font) -> None:
    """Write `text` from bottom to top, centred at `x`."""
    strip = Image.new("RGB", (max(1, int(font.getlength(text)) + 1), FONT_SIZE + 4), "white")
    ImageDraw.Draw(strip).text((0, 0), text, "black", font)
    turned = strip.rotate(90, expand=True)
    canvas.paste(turned, (x - turned.width // 2, bottom - turned.height))


def error_plot(images: Tensor, captions: Sequence[tuple[str, str]]) -> Tensor:
    """Draw images in rows of five, each above its caption.

    Args:
        images: (N, C, H, W), 0 to 1, with one or three channels.
        captions: two lines of text for each image.
    """
    font = ImageFont.load_default(FONT_SIZE)
    columns = min(5, len(images))
    rows = -(-len(images) // columns)
    width, height = TILE + 24, TILE + 2 * (FONT_SIZE + 4) + 8
    canvas = Image.new("RGB", (columns * width, rows * height), "white")
    draw = ImageDraw.Draw(canvas)
    scaled = interpolate(images.float().cpu(), (TILE, TILE), mode="nearest").expand(-1, 3, -1, -1)
    for number, (image, lines) in enumerate(zip(scaled, captions, strict=True)):
        left, top = number % columns * width + 12, number // columns * height + 4
        canvas.paste(_pillow(image), (left, top))
        for index, line in enumerate(lines):
            middle = (left + TILE // 2, top + TILE + 3 + index * (FONT_SIZE + 3))
            draw.text(middle, _short(line), "black", font, anchor="mt")
    return _tensor(canvas)


def _pillow(image: Tensor) -> Image.Image:
    return Image.fromarray((image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())


def _tensor(canvas: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(canvas).copy()).permute(2, 0, 1).float() / 255


class ConfidentErrors:
    """The wrong predictions of a split with the highest probabilities. Nothing is read from the device before the end.

    Attributes:
        scores: probability of the predicted class, (N,) in descending order.
        images, labels, predicted: of these samples, (N, ...), int64 (N,), int64 (N,).
    """

    def __init__(self, num: int = NUM_ERRORS) -> None:
        self.num = num
        self.scores = self.images = self.labels = self.predicted = torch.empty(0)

    def add(self, images: Tensor, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch: images (B, ...), probabilities (B, K), labels int64 (B,)."""
        confidence, predicted = probabilities.max(1)
        new = torch.where(predicted != labels, confidence, -1.0), images, labels, predicted  # -1: it is right
        old = self.scores, self.images, self.labels, self.predicted
        merged = [torch.cat(pair) if len(pair[0]) else pair[1] for pair in zip(old, new, strict=True)]
        self.scores, order = merged[0].topk(min(self.num, len(merged[0])))
        self.images, self.labels, self.predicted = (values[order] for values in merged[1:])

    def cut(self) -> int:
        """Leave out the samples that are right, and return how many wrong ones are left."""
        wrong = int((self.scores >= 0).sum())
        self.scores, self.images = self.scores[:wrong], self.images[:wrong]
        self.labels, self.predicted = self.labels[:wrong], self.predicted[:wrong]
        return wrong
