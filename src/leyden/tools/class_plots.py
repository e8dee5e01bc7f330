"""Plots about classes: the confusion matrix, readable with 1,000 classes, and the calibration."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from leyden.metrics.calibration import NUM_BINS, Bins
from leyden.tools.figures import BLUE, RED, figure, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 30  # classes; the plots of more have no names
MAX_NUMBERS = 15  # classes; the cells of more have no counts
LISTED = 15  # of the most frequent confusions
FEW = 10  # predictions; the accuracy of fewer says little
PALE = "#a6cbe3"


def plot_confusion(path: Path, confusion: Tensor, names: Sequence[str], title: str) -> None:
    """Draw a confusion matrix; for more than `MANY` classes a list of the most frequent confusions next to it.

    Args:
        path: the PNG file to write.
        confusion: int64 (K, K), rows are the true classes.
        names: K class names.
        title: the heading.
    """
    num = len(names)
    few = num <= MANY
    size = (max(4.8, 2.2 + 0.48 * num), max(4.2, 1.6 + 0.48 * num)) if few else (12.5, 5.6)
    with figure(path, figsize=size) as drawn:
        widths = (1,) if few else (1.15, 1)
        (matrix, *others) = drawn.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
        fractions = confusion / confusion.sum(1, keepdim=True).clamp(min=1)
        image = matrix.imshow(fractions.numpy(), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        bar = drawn.colorbar(image, ax=matrix, shrink=0.8)
        bar.set_label("fraction of the true class", fontsize="small")
        matrix.set(xlabel="predicted class", ylabel="true class")
        matrix.spines[:].set_visible(False)
        if few:
            _name_cells(matrix, confusion, fractions, names)
        else:
            matrix.set_title(f"{num:,} classes, in the order of their labels", fontsize="small")
            _list_confusions(others[0], confusion, names)
        drawn.suptitle(title, fontsize="medium", x=0.01, ha="left")


def _name_cells(axes: "Axes", confusion: Tensor, fractions: Tensor, names: Sequence[str]) -> None:
    labels, positions = [short(name) for name in names], range(len(names))
    upright = max(map(len, labels)) > 3
    axes.set_xticks(positions, labels, rotation=90 if upright else 0)
    axes.set_yticks(positions, labels)
    axes.tick_params(length=0, labelsize="small")
    if len(names) > MAX_NUMBERS:
        return
    for row, column in confusion.nonzero().tolist():
        colour = "white" if fractions[row, column] > 0.5 else "black"
        count = f"{int(confusion[row, column]):,}"
        axes.text(column, row, count, ha="center", va="center", color=colour, fontsize="small")


def top_confusions(confusion: Tensor, names: Sequence[str], num: int = LISTED) -> list[tuple[str, str, int]]:
    """Return (true class, predicted class, samples) of the `num` most frequent confusions, the most frequent first."""
    wrong = confusion.clone().fill_diagonal_(0).flatten()
    counts, cells = (values[:num].tolist() for values in wrong.sort(descending=True, stable=True))
    pairs = [(*divmod(cell, len(names)), count) for cell, count in zip(cells, counts, strict=True)]
    return [(names[row], names[column], count) for row, column, count in pairs if count]


def _list_confusions(axes: "Axes", confusion: Tensor, names: Sequence[str]) -> None:
    pairs = top_confusions(confusion, names)
    labels = [f"{short(true, 18)} → {short(predicted, 18)}" for true, predicted, _ in pairs]
    bars = axes.barh(range(len(pairs)), [count for *_, count in pairs], color=BLUE)
    axes.bar_label(bars, padding=3, fontsize="small")
    axes.set_yticks(range(len(pairs)), labels)
    axes.tick_params(length=0, labelsize="small")
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_title("most frequent confusions (true → predicted, samples)", fontsize="small")


def plot_reliability(path: Path, before: Bins, after: Bins | None, title: str, notes: Sequence[str]) -> None:
    """Draw the accuracy of the predictions of each confidence, and below how many predictions there are.

    Args:
        path: the PNG file to write.
        before: the predictions of the model.
        after: the same predictions after temperature scaling, or None.
        title: the heading.
        notes: the title of each column.
    """
    shown = [before] if after is None else [before, after]
    with figure(path, figsize=(max(4.6 * len(shown), 6.0), 5.6)) as drawn:
        grid = drawn.subplots(2, len(shown), squeeze=False, sharex=True, height_ratios=(3, 1), sharey="row")
        for number, (bins, note) in enumerate(zip(shown, notes, strict=True)):
            _draw_bins(grid[0][number], grid[1][number], bins)
            grid[0][number].set_title(note)
        grid[0][0].set_ylabel("accuracy")
        grid[1][0].set_ylabel("fraction of\npredictions")
        handles, labels = grid[0][0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=2)
        drawn.suptitle(title, fontsize="medium", x=0.01, ha="left")


def _draw_bins(upper: "Axes", lower: "Axes", bins: Bins) -> None:
    there, edges = bins.counts > 0, torch.arange(NUM_BINS) / NUM_BINS
    few, width = bins.counts < FEW, 0.9 / NUM_BINS
    for chosen, colour, label in (
        (there & ~few, BLUE, "accuracy"),
        (there & few, PALE, f"of fewer than {FEW} predictions"),
    ):
        middles = (edges + 0.5 / NUM_BINS)[chosen].numpy()
        upper.bar(middles, bins.accuracy[chosen].numpy(), width, color=colour, label=label)
        lower.bar(middles, (bins.counts / bins.counts.sum())[chosen].numpy(), width, color=colour)
    x, y = bins.confidence[there].numpy(), bins.accuracy[there].numpy()
    upper.vlines(x, np.minimum(x, y), np.maximum(x, y), color=RED, linewidth=2, label="gap to the confidence")
    upper.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="perfect calibration")
    upper.set(xlim=(0, 1), ylim=(0, 1.02))
    lower.set(xlabel="confidence (probability of the prediction)", xlim=(0, 1))
    for axes in (upper, lower):
        axes.grid()
