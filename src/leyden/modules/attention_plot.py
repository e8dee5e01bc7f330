"""A plot of the attention of a translation, as a float image (3, H, W) from 0 to 1. It is drawn with Pillow."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

FONT_SIZE = 13
CELL = 16  # side of a cell in pixels
MARGIN = 90  # for the tokens, in pixels
MOST = 60  # tokens of a text that are shown
LETTERS = 10  # of a token


def attention_plot(weights: Tensor, rows: Sequence[Sequence[str]], columns: Sequence[Sequence[str]]) -> Tensor:
    """Draw how much each symbol of a translation was predicted from each token of its source; darker means more.

    Args:
        weights: (N, L, S), rows sum to 1.
        rows: the symbols of each translation, at most L.
        columns: the tokens of each source, at most S.
    """
    drawn = [one_plot(*part) for part in zip(weights, rows, columns, strict=True)]
    canvas = Image.new("RGB", (max(one.width for one in drawn), sum(one.height for one in drawn)), "white")
    top = 0
    for one in drawn:
        canvas.paste(one, (0, top))
        top += one.height
    return torch.from_numpy(np.asarray(canvas).copy()).permute(2, 0, 1).float() / 255


def one_plot(weights: Tensor, row: Sequence[str], column: Sequence[str]) -> Image.Image:
    """Draw one translation: its symbols from top to bottom, its source from left to right."""
    font = font_of_plots()
    row, column = [text[:LETTERS] for text in row[:MOST]], [text[:LETTERS] for text in column[:MOST]]
    canvas = Image.new("RGB", (MARGIN + CELL * len(column) + 8, MARGIN + CELL * len(row) + 8), "white")
    draw = ImageDraw.Draw(canvas)
    shades = (255 - 235 * weights[: len(row), : len(column)].clamp(0, 1)).round().int().tolist()
    for line, text in enumerate(row):
        top = MARGIN + line * CELL
        draw.text((MARGIN - 6, top + CELL // 2), text, "black", font, anchor="rm")
        for place, shade in enumerate(shades[line]):
            left = MARGIN + place * CELL
            draw.rectangle((left, top, left + CELL - 2, top + CELL - 2), fill=(shade, shade, min(255, shade + 60)))
    for place, text in enumerate(column):
        strip = Image.new("RGB", (max(1, int(font.getlength(text)) + 1), FONT_SIZE + 4), "white")
        ImageDraw.Draw(strip).text((0, 0), text, "black", font)
        turned = strip.rotate(90, expand=True)
        canvas.paste(turned, (MARGIN + place * CELL, MARGIN - 6 - turned.height))
    return canvas


@cache
def font_of_plots() -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib: unlike Pillow's own font it has letters of many languages."""
    import matplotlib  # slow to import, and needed only here

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(path, FONT_SIZE)
