"""Figures of matplotlib: how they look, and how they are written. matplotlib is imported when one is drawn."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from leyden.data.datamodule import printable
from leyden.records.run_folder import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 130
# Fonts with Chinese, Japanese and Korean characters; those of this machine are used for class names.
WIDE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
)
STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a class may be named "$5"
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": "small",
}
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#8a8a8a"  # Okabe and Ito (2008)
COLOURS = (BLUE, ORANGE, GREEN, RED, "#cc79a7", "#56b4e9", "#b8a800", "#000000", "#7f3c8d", "#a0522d")
LONGEST = 24  # characters of a name in a plot


@contextmanager
def figure(path: Path, **options: Any) -> Iterator["Figure"]:
    """Yield a new figure, and write it to `path` as a PNG at the end: completely or not at all.

    Args:
        path: the file to write.
        options: of `matplotlib.figure.Figure`, for example ``figsize``.

    Raises:
        UserError: the file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib import font_manager
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = ["DejaVu Sans", *(name for name in WIDE_FONTS if name in installed)]
    with mpl.rc_context({**STYLE, "font.family": fonts}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # a box is drawn instead
        drawn = Figure(**{"layout": "constrained", **options})
        FigureCanvasAgg(drawn)
        yield drawn
        with writing(path) as file:
            drawn.savefig(file, format="png", dpi=DPI)


def short(name: str, longest: int = LONGEST) -> str:
    """Return a name without control characters. The middle of one with more than `longest` characters is left out."""
    text, kept = printable(name), longest - 1
    return text if len(text) <= longest else f"{text[: kept - kept // 2]}…{text[-(kept // 2) :]}"


def show_image(axes: "Axes", image: Tensor) -> None:
    """Show an image, uint8 or 0 to 1, (C, H, W) with 1 or 3 channels, without axes."""
    axes.set_axis_off()
    if image.shape[0] == 3:
        axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    else:
        largest = 1.0 if image.is_floating_point() else 255
        axes.imshow(image[0].numpy(), cmap="gray", vmin=0, vmax=largest, interpolation="nearest")


def image_grid(
    path: Path, images: Sequence[Tensor], captions: Sequence[str], title: str, columns: int = 5, side: float = 1.9
) -> None:
    """Write a grid of images with a caption above each.

    Args:
        path: the PNG file to write.
        images: each (C, H, W), uint8 or 0 to 1; at least one.
        captions: one for each image, one or two lines.
        title: the text above all images.
        columns: images in a row.
        side: width of an image in inches.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height, width = images[0].shape[1:]
    tall = side * min(max(height / width, 0.3), 3)
    size = (max(side * columns * 1.05, 5.0), (tall + 0.5) * rows + 0.5)
    with figure(path, figsize=size) as drawn:
        grid = drawn.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, image, caption in zip(grid.flat, images, captions, strict=False):
            show_image(axes, image)
            axes.set_title(caption, fontsize="small", loc="center")
        drawn.suptitle(title, fontsize="medium", x=0.01, ha="left")
