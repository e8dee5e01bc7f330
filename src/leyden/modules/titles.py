"""A title above a plot, and labels above its columns. They are drawn with Pillow."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

FONT_SIZE = 13
LINE = FONT_SIZE + 5  # height of a line of text in pixels
MARGIN = 6  # left and right of a text in pixels
WIDTH = 500  # smaller plots are enlarged by a whole factor, until they are at least so wide


def titled(plot: Tensor, lines: Sequence[str], labels: Sequence[str] = ()) -> Tensor:
    """Return a plot with a title, (3, height, width), 0 to 1.

    Args:
        plot: (C, H, W), 0 to 1, with one or three channels.
        lines: the lines of the title.
        labels: of columns of equal width, from left to right.
    """
    font = ImageFont.load_default(FONT_SIZE)
    scale = -(-WIDTH // plot.shape[2])
    enlarged = plot.float().cpu().repeat_interleave(scale, 1).repeat_interleave(scale, 2).expand(3, -1, -1)
    height, width = enlarged.shape[1:]
    top = LINE * (len(lines) + bool(labels)) + 4
    longest = max(int(font.getlength(line)) for line in lines) + 2 * MARGIN
    canvas = Image.new("RGB", (max(width, longest), top), "white")
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((MARGIN, number * LINE + 3), line, "black", font)
    for number, label in enumerate(labels):
        middle = width * (2 * number + 1) // (2 * len(labels))
        draw.text((middle, top - 4), label, "dimgrey", font, anchor="ms")
    text = torch.from_numpy(np.asarray(canvas).copy()).permute(2, 0, 1).float() / 255
    below = torch.nn.functional.pad(enlarged, (0, canvas.width - width), value=1.0)
    assert below.shape[1] == height
    return torch.cat((text, below), 1)
