"""ROC and precision-recall curves. With many classes there are the mean and the worst ones.

N  samples          K  classes
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from leyden.metrics.label_metrics import average_precision, label_auroc
from leyden.metrics.threshold_curves import precision_recall_curve, roc_curve
from leyden.tools.figures import COLOURS, GREY, figure, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CURVES = 10  # classes with a curve of their own
WORST = 5  # classes with a curve of their own if there are more than `MAX_CURVES`
GRID = 201  # points of a mean curve
SIZE = (7.2, 4.6)  # of a figure with curves, in inches


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
