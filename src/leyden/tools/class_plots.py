"""Plots about classes: confusion matrix, calibration, ROC and precision-recall curves. Readable with 1,000 classes.

N  samples          K  classes
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from leyden.metrics.calibration import NUM_BINS, Bins
from leyden.metrics.label_metrics import average_precision, label_auroc
from leyden.metrics.threshold_curves import precision_recall_curve, roc_curve
from leyden.tools.figures import BLUE, COLOURS, GREY, RED, figure, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 30  # classes; the plots of more have no names
MAX_NUMBERS = 15  # classes; the cells of more have no counts
MAX_CURVES = 10  # classes with a curve of their own
LISTED = 15  # of the most frequent confusions
WORST = 5  # classes with a curve of their own if there are more than `MAX_CURVES`
FEW = 10  # predictions; the accuracy of fewer says little
PALE = "#a6cbe3"
GRID = 201  # points of a mean curve
SIZE = (7.2, 4.6)  # of a figure with curves, in inches


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


def plot_roc(path: Path, scores: Tensor, members: Tensor, names: Sequence[str], title: str) -> None:
    """Draw the ROC curve of each class against the rest; classes without a positive or negative sample are left out.

    Args:
        path: the PNG file to write.
        scores: float (N, K)
        members: whether each sample belongs to each class, bool (N, K).
        names: K class names.
        title: the heading.
    """
    areas = {label: float(value) for label, value in enumerate(label_auroc(scores, members)) if not value.isnan()}
    curves = Curves(scores, members, names, areas, roc_curve, "area", "default")
    with figure(path, figsize=SIZE) as drawn:
        axes = drawn.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="random guess (0.500)")
        curves.draw(axes)
        axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
        if areas and min(areas.values()) > 0.9:  # all curves are in the corner
            inset = axes.inset_axes((0.36, 0.1, 0.6, 0.62), xlim=(-0.001, 0.1), ylim=(0.9, 1.003))
            curves.draw_lines(inset)
            inset.set_title("upper left corner", fontsize="small")
            inset.tick_params(labelsize="small")
            inset.grid()
        drawn.suptitle(f"{title}: ROC curves (area)", fontsize="medium", x=0.01, ha="left")


def plot_precision_recall(path: Path, scores: Tensor, members: Tensor, names: Sequence[str], title: str) -> None:
    """Draw the precision-recall curve of each class; the arguments are those of `plot_roc`."""
    precision = average_precision(scores, members.long())
    averages = {label: float(value) for label, value in enumerate(precision) if not value.isnan()}
    curves = Curves(scores, members, names, averages, precision_recall_curve, "average precision", "steps-pre")
    with figure(path, figsize=SIZE) as drawn:
        axes = drawn.subplots()
        curves.draw(axes)
        axes.set(xlabel="recall", ylabel="precision")
        drawn.suptitle(f"{title}: precision-recall curves (average precision)", fontsize="medium", x=0.01, ha="left")


@dataclass(frozen=True, eq=False)
class Curves:
    """A curve for each class, or the mean curve and those of the worst classes if there are many.

    Args:
        scores: float (N, K)
        members: bool (N, K)
        names: K class names.
        values: label → the summary of its curve, for the classes to draw.
        curve: scores and members of one class → x and y of its points.
        what: what `values` are.
        style: of the line: default connects the points, steps-pre draws the steps that average precision sums.
    """

    scores: Tensor
    members: Tensor
    names: Sequence[str]
    values: dict[int, float]
    curve: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    what: str
    style: Literal["default", "steps-pre"]

    def draw(self, axes: "Axes") -> None:
        """Draw the curves with a legend: the worst classes come first."""
        self.draw_lines(axes)
        axes.set(xlim=(-0.01, 1.01), ylim=(0, 1.02))
        axes.grid()
        heading = f"mean, and the {WORST} worst classes" if self.are_many else None
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title=heading, alignment="left")

    @property
    def are_many(self) -> bool:
        """Whether there are too many classes for a curve of each."""
        return len(self.values) > MAX_CURVES

    def draw_lines(self, axes: "Axes") -> None:
        """Draw the curves."""
        worst_first = sorted(self.values, key=lambda label: self.values[label])
        if self.are_many:
            mean = sum(self.values.values()) / len(self.values)
            text = f"mean of {len(self.values):,} classes ({mean:.4f})"
            axes.plot(*(values.numpy() for values in self._mean()), color="black", linewidth=2.5, label=text, zorder=3)
        for number, label in enumerate(worst_first[:WORST] if self.are_many else worst_first):
            x, y = self.points(label)
            text = f"{short(self.names[label])} ({self.values[label]:.4f})"
            axes.plot(
                x.numpy(), y.numpy(), color=COLOURS[number], linewidth=1.3, drawstyle=self.style, label=text, alpha=0.9
            )

    def points(self, label: int) -> tuple[Tensor, Tensor]:
        """Return x and y of the curve of a class."""
        return self.curve(self.scores[:, label], self.members[:, label])

    def _mean(self) -> tuple[Tensor, Tensor]:
        grid = torch.linspace(0, 1, GRID, dtype=torch.float64)
        mean = torch.zeros_like(grid)
        for label in self.values:
            x, y = self.points(label)
            if self.style == "default":  # the highest point up to x
                index = torch.searchsorted(x, grid, right=True) - 1
            else:  # the step that ends at x or after it
                index = torch.searchsorted(x, grid).clamp(max=len(x) - 1)
            mean += y[index] / len(self.values)
        return grid, mean
