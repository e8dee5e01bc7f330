"""Draw explanations: the image, and a map for each method on top of it."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from leyden.modules.predictions import Prediction
from leyden.tools.explain import Explanation
from leyden.tools.figures import figure, short, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_ROWS = 20  # images in an overview
COLUMNS = 4  # in the figure of one image
SIDE = 2.4  # width of an image in inches
SIGNED = ("integrated gradients", "occlusion")
WIDEST = 60  # characters of a line of the heading


def plot_explanation(path: Path, explanation: Explanation, name: str) -> None:
    """Write the image of one explanation.

    Args:
        path: the PNG file to write.
        explanation: what is drawn.
        name: the name of the image.
    """
    panels = 1 + len(explanation.maps)
    columns = min(COLUMNS, panels)
    rows = -(-panels // columns)
    with figure(path, figsize=(max(SIDE * columns, 5.0), (_height(explanation.image) + 0.35) * rows + 1.1)) as drawn:
        grid = drawn.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        show_image(grid.flat[0], explanation.image)
        grid.flat[0].set_title("image", fontsize="small", loc="center")
        for axes, (method, values) in zip(grid.flat[1:], explanation.maps.items(), strict=False):
            show_map(axes, explanation.image, values, method)
            axes.set_title(_with_symbol(method, explanation.prediction), fontsize="small", loc="center")
        heading = (
            f"{short(name, WIDEST)}: {described(explanation.prediction)}\nexplained: {short(explanation.what, WIDEST)}"
        )
        drawn.suptitle(heading, fontsize="medium", x=0.01, ha="left")
        drawn.supxlabel(legend(explanation.maps), fontsize="small")


def plot_overview(path: Path, explanations: Sequence[Explanation], names: Sequence[str], total: int) -> None:
    """Write an image with a row for each explanation and a column for each method.

    Args:
        path: the PNG file to write.
        explanations: the first `MAX_ROWS` of them are drawn; at least one.
        names: the name of each image.
        total: number of images that were explained.
    """
    shown = explanations[:MAX_ROWS]
    methods = list(dict.fromkeys(method for explanation in shown for method in explanation.maps))
    height = (_height(shown[0].image) + 0.45) * len(shown) + 1.1
    with figure(path, figsize=(max(SIDE * (1 + len(methods)), 5.0), height)) as drawn:
        grid = drawn.subplots(len(shown), 1 + len(methods), squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for row, explanation, name in zip(grid, shown, names, strict=False):
            show_image(row[0], explanation.image)
            row[0].set_title(f"{short(name, 26)}\n{described(explanation.prediction)}", fontsize="small", loc="center")
            for axes, method in zip(row[1:], methods, strict=True):
                if method in explanation.maps:
                    show_map(axes, explanation.image, explanation.maps[method], method)
                    axes.set_title(_with_symbol(method, explanation.prediction), fontsize="small", loc="center")
        which = f"the first {MAX_ROWS} of {total:,} images" if total > MAX_ROWS else f"{total} images"
        drawn.suptitle(f"explanations of {which}", fontsize="medium", x=0.01, ha="left")
        drawn.supxlabel(legend(methods), fontsize="small")


def show_map(axes: "Axes", image: Tensor, values: Tensor, method: str) -> None:
    """Draw a map, (H, W), on top of the image in grey; its largest values have the full colour."""
    grey = image.mean(0)
    largest = float(values.abs().flatten().quantile(0.995)) or 1.0
    if method in SIGNED:
        axes.imshow(grey.numpy(), cmap="gray", vmin=-0.6, vmax=1.4, interpolation="nearest")
        strength = (values.abs() / largest).clamp(max=1).sqrt()
        axes.imshow(values.numpy(), cmap="coolwarm", vmin=-largest, vmax=largest, alpha=strength.numpy())
    else:
        axes.imshow(grey.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        low = float(values.min()) if method.startswith("attention") else 0.0
        axes.imshow(values.numpy(), cmap="inferno", vmin=low, vmax=largest, alpha=0.65, interpolation="nearest")


def legend(methods: Collection[str]) -> str:
    """Return what the colours of the maps mean."""
    lines = []
    if any(method in SIGNED for method in methods):
        lines.append("red: speaks for the prediction, blue: against it")
    if others := [method for method in methods if method not in SIGNED]:
        bright = "larger error" if "squared error" in others else "more weight"
        lines.append(f"{others[0].partition(',')[0]}: brighter means {bright}")
    return "\n".join(lines)


def described(prediction: Prediction) -> str:
    """Return a prediction with its probability: ``7 (98.3%)``."""
    value = prediction.prediction
    values = value if isinstance(value, list) else [value]
    text = ", ".join(f"{one:.4g}" if isinstance(one, float) else one for one in values) or "(none)"
    return short(text, 40) + (f" ({prediction.probability:.1%})" if prediction.probability is not None else "")


def _with_symbol(method: str, prediction: Prediction) -> str:
    """Return the name of a method, with the symbol of the text that an attention map belongs to."""
    head, _, number = method.rpartition("symbol ")
    if not head or not isinstance(prediction.prediction, str):
        return method
    position = int(number) - 1
    symbol = prediction.prediction[position : position + 1]
    return f"attention for {symbol!r}" if symbol else "attention for the end"


def _height(image: Tensor) -> float:
    ratio = image.shape[1] / image.shape[2]
    return SIDE * float(torch.tensor(ratio).clamp(0.3, 3))
