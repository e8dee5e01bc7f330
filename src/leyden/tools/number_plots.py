"""Plots about predicted numbers: residuals of a regression, forecasts, anomaly scores.

N  samples          T  steps of a window          H  steps to predict, the horizon
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leyden.tools.figures import BLUE, GREY, ORANGE, RED, figure, short

MAX_POINTS = 5000  # in a scatter plot
MAX_TARGETS = 6  # with a row of plots
NUM_FORECASTS = 6
NUM_BARS = 40  # of a histogram
DOTS: dict[str, Any] = {"s": 12, "color": BLUE, "alpha": 0.5, "linewidth": 0}


def plot_residuals(path: Path, outputs: Tensor, targets: Tensor, names: Sequence[str], title: str) -> None:
    """Draw predictions against targets, residuals against predictions, and a histogram of the residuals.

    Args:
        path: the PNG file to write.
        outputs, targets: float (N, number of targets)
        names: names of the targets; the first `MAX_TARGETS` are drawn.
        title: the heading.
    """
    shown = names[:MAX_TARGETS]
    chosen, num_bars = _spread(len(targets), MAX_POINTS), min(NUM_BARS, 5 + round(math.sqrt(len(targets))))
    with figure(path, figsize=(12, 3.7 * len(shown) + 0.3)) as drawn:
        grid = drawn.subplots(len(shown), 3, squeeze=False)
        for number, (name, row) in enumerate(zip(shown, grid, strict=True)):
            predicted, true = outputs[:, number], targets[:, number]
            residuals, label = true - predicted, short(name)
            ends = [float(f(torch.cat([predicted, true]))) for f in (torch.min, torch.max)]
            row[0].plot(ends, ends, color=GREY, linestyle="--", linewidth=1, label="perfect prediction")
            row[0].scatter(true[chosen].numpy(), predicted[chosen].numpy(), **DOTS)
            row[0].set(xlabel=f"true {label}", ylabel=f"predicted {label}", title="prediction and truth")
            row[0].legend(loc="upper left")
            row[1].axhline(0, color=GREY, linestyle="--", linewidth=1)
            row[1].scatter(predicted[chosen].numpy(), residuals[chosen].numpy(), **DOTS)
            row[1].set(xlabel=f"predicted {label}", ylabel="residual (true - predicted)", title="residuals")
            row[2].hist(residuals.numpy(), num_bars, color=BLUE, alpha=0.8)
            row[2].axvline(0, color=GREY, linestyle="--", linewidth=1)
            row[2].axvline(
                float(residuals.mean()), color=RED, linewidth=1.5, label=f"mean {float(residuals.mean()):.3g}"
            )
            row[2].set(xlabel="residual (true - predicted)", ylabel="samples", title="distribution of the residuals")
            row[2].legend(loc="upper left")
            for axes in row:
                axes.grid()
        drawn.suptitle(title, fontsize="medium", x=0.01, ha="left")


def plot_forecasts(
    path: Path, windows: Tensor, outputs: Tensor, targets: Tensor, naive: Tensor, reference: str, title: str
) -> None:
    """Draw windows at even distances, with their forecasts, the naive forecasts and the true steps.

    Args:
        path: the PNG file to write.
        windows: float (N, T, F); their first feature is predicted.
        outputs, targets, naive: the forecast, the truth and the naive forecast, float (N, H).
        reference: name of the naive forecast.
        title: the heading.
    """
    chosen = _spread(len(targets), NUM_FORECASTS).tolist()
    length, horizon = windows.shape[1], targets.shape[1]
    shown = min(length, max(4 * horizon, 24))  # steps before the forecast
    past, future = range(-shown + 1, 1), range(horizon + 1)
    with figure(path, figsize=(12, 2.7 * -(-len(chosen) // 2) + 0.8)) as drawn:
        grid = drawn.subplots(-(-len(chosen) // 2), 2, squeeze=False)
        for axes in grid.flat[len(chosen) :]:
            axes.set_axis_off()
        for axes, sample in zip(grid.flat, chosen, strict=False):
            known = windows[sample, -shown:, 0].numpy()
            axes.axvspan(0, horizon, color=GREY, alpha=0.1, linewidth=0)
            axes.plot(past, known, color="black", linewidth=1.2, label="known steps")
            lines = (
                (targets, "black", ":", "true steps"),
                (naive, ORANGE, "--", reference),
                (outputs, BLUE, "-", "forecast"),
            )
            for values, colour, style, label in lines:
                steps = [known[-1], *values[sample].tolist()]
                axes.plot(future, steps, color=colour, linestyle=style, linewidth=1.8, label=label)
            error = float((outputs[sample] - targets[sample]).abs().mean())
            axes.set_title(f"window {sample:,}: mean absolute error {error:.3g}", fontsize="small")
            axes.grid()
        for axes in grid[-1]:
            axes.set_xlabel("step (0: the last known step)")
        handles, labels = grid.flat[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=4)
        drawn.suptitle(title, fontsize="medium", x=0.01, ha="left")


def plot_error_by_step(path: Path, outputs: Tensor, targets: Tensor, naive: Tensor, reference: str, title: str) -> None:
    """Draw the mean absolute error of each step of the horizon; the arguments are those of `plot_forecasts`."""
    from matplotlib.ticker import MaxNLocator

    with figure(path, figsize=(7, 4)) as drawn:
        axes = drawn.subplots()
        steps = range(1, targets.shape[1] + 1)
        for values, colour, style, label in ((naive, ORANGE, "--", reference), (outputs, BLUE, "-", "forecast")):
            errors = (values - targets).abs().mean(0).numpy()
            axes.plot(steps, errors, color=colour, linestyle=style, marker="o", markersize=4, label=label)
        axes.set(xlabel="step after the last known step", ylabel="mean absolute error")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid()
        axes.legend()
        drawn.suptitle(title, fontsize="medium", x=0.01, ha="left")


def plot_anomaly_scores(path: Path, scores: Tensor, anomalous: Tensor | None, name: str, title: str) -> None:
    """Draw a histogram of anomaly scores.

    Args:
        path: the PNG file to write.
        scores: float (N,)
        anomalous: whether each sample belongs to the class that the training did not contain, bool (N,); None if
            the training contained all classes.
        name: name of that class.
        title: the heading.
    """
    limit = float(scores.double().quantile(0.995))  # a few huge scores would squeeze all others into one bar
    edges = torch.linspace(0, limit, NUM_BARS + 1).tolist()
    with figure(path, figsize=(7.2, 4)) as drawn:
        axes = drawn.subplots()
        groups = [(scores, BLUE, f"all images (n={len(scores):,})")]
        if anomalous is not None:
            groups = [
                (scores[~anomalous], BLUE, f"classes of the training (n={int((~anomalous).sum()):,})"),
                (scores[anomalous], RED, f"class {short(name)}, not in the training (n={int(anomalous.sum()):,})"),
            ]
        for values, colour, label in groups:
            weights = torch.full((len(values),), 1 / max(len(values), 1))
            axes.hist(
                values.clamp(max=limit).numpy(), edges, weights=weights.numpy(), color=colour, alpha=0.55, label=label
            )
        axes.set(xlabel="anomaly score (squared error / variance of the pixels)", ylabel="fraction of the images")
        axes.grid()
        axes.legend()
        drawn.suptitle(title, fontsize="medium", x=0.01, ha="left")


def _spread(num: int, most: int) -> Tensor:
    """Return at most `most` indices from 0 to ``num - 1`` at even distances, int64."""
    return torch.linspace(0, num - 1, min(num, most)).long()
