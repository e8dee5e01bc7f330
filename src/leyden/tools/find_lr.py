"""The learning rate range test (Smith, 2017): train with a growing learning rate and look at the loss."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.tools.short_training import ShortTraining

MIN_STEPS = 20
WIDTH = 1 / 30  # standard deviation of the smoothing, as a fraction of the steps
LIMIT = 3.0  # the test ends when the loss exceeds its best value by this many times that value or the decrease


@dataclass(frozen=True)
class RangeTest:
    """What a range test found.

    Args:
        rates: learning rate of each step.
        losses: training loss of each step.
        smoothed: the losses, smoothed over neighbouring steps.
        suggestion: the learning rate at which the smoothed loss falls fastest, with two digits.
        diverged: whether the test ended early because the loss grew or was not finite.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float
    diverged: bool


class GrowingRate(Callback):
    """Sets the learning rate of each optimizer step, and records the losses.

    Args:
        rates: the learning rate of each step.
        advance: called after each batch.
    """

    def __init__(self, rates: Sequence[float], advance: Callable[[], None]) -> None:
        self.rates, self.advance = rates, advance
        self.losses: list[list[float]] = [[] for _ in rates]  # of the batches of each step
        self.average = self.first = self.best = math.inf
        self.diverged = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.step = trainer.global_step
        for optimizer in trainer.optimizers:
            first = optimizer.param_groups[0]["initial_lr"]
            for group in optimizer.param_groups:  # muon has several; their ratios are kept
                group["lr"] = self.rates[self.step] * (group["initial_lr"] / first if first else 1.0)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = float(outputs["loss"])
        self.advance()
        if math.isfinite(loss):
            self.losses[self.step].append(loss)
            self.average = loss if math.isinf(self.average) else 0.8 * self.average + 0.2 * loss
            self.first = loss if math.isinf(self.first) else self.first
            self.best = min(self.best, self.average)
        allowed = max(LIMIT * abs(self.best), LIMIT * (self.first - self.best))
        if not math.isfinite(loss) or (self.step >= MIN_STEPS and self.average > self.best + allowed):
            self.diverged = trainer.should_stop = True


def find_lr(overrides: Sequence[str], low: float = 1e-6, high: float = 1.0, num_steps: int = 100) -> RangeTest:
    """Train for `num_steps` steps with a learning rate that grows from `low` to `high`. Leaves no run folder.

    Args:
        overrides: the training, as for ``python train.py``.
        low, high: the first and the last learning rate, above 0.
        num_steps: number of optimizer steps, at least `MIN_STEPS`.

    Raises:
        UserError: an argument is out of its range, or the loss did not fall.
    """
    if not 0 < low < high < math.inf:
        raise UserError(f"--min: got {low:g}, must be above 0 and below --max, here {high:g}")
    if num_steps < MIN_STEPS:
        raise UserError(f"--steps: got {num_steps}, must be at least {MIN_STEPS}")
    training = ShortTraining(compose(*overrides))
    rates = [low * (high / low) ** (step / (num_steps - 1)) for step in range(num_steps)]
    with progress("range test", num_steps * training.cfg.trainer.accumulate_grad_batches) as advance:
        test = GrowingRate(rates, advance)
        training.train([test], num_steps)
    losses = [sum(batches) / len(batches) for batches in test.losses if batches]
    smoothed = smooth(without_peaks(losses), max(1.0, WIDTH * num_steps)) if losses else np.empty(0)
    return RangeTest(rates[: len(losses)], losses, smoothed.tolist(), steepest(rates, smoothed), test.diverged)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr, if it is a terminal. Yield the function that moves it by one."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def steepest(rates: Sequence[float], losses: NDArray[np.float64]) -> float:
    """Return the learning rate at which smoothed losses fall fastest before their minimum, with two digits.

    Raises:
        UserError: they do not fall.
    """
    lowest = int(losses.argmin()) if len(losses) else 0
    if lowest < 2:
        raise UserError(f"--min: the loss does not fall from a learning rate of {rates[0]:g} on. Use a smaller --min")
    slopes = np.diff(losses[: lowest + 1])  # the steps are even on the logarithmic scale
    return float(f"{rates[int(slopes.argmin())]:.1e}")


def without_peaks(losses: Sequence[float]) -> NDArray[np.float64]:
    """Limit losses that are far above the first one: the last losses before the end would hide the others."""
    first = losses[0]
    return np.minimum(losses, first + max(first - min(losses), 0.1 * abs(first)))


def smooth(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return values smoothed by a Gaussian with the standard deviation `width`, in steps. The ends are repeated."""
    radius = math.ceil(3 * width)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / width) ** 2)
    return np.convolve(np.pad(values, radius, mode="edge"), weights / weights.sum(), mode="valid")


def plot(test: RangeTest, path: Path) -> None:
    """Write a PNG with the loss as a function of the learning rate.

    Raises:
        UserError: `path` cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from leyden.records.run_folder import writing

    figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    axes.plot(test.rates, test.losses, color="C0", alpha=0.35, linewidth=1, label="loss of a step")
    axes.plot(test.rates, test.smoothed, color="C0", linewidth=2, label="smoothed")
    axes.axvline(test.suggestion, color="C3", linestyle="--", label=f"suggested: {test.suggestion:g}")
    low, high = min(test.smoothed), max(test.smoothed[: max(2, len(test.smoothed) // 2)])
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    axes.set_ylim(low - 0.15 * (high - low), high + 0.4 * (high - low))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    try:
        with writing(path) as file:
            figure.savefig(file, dpi=150, format="png")
    finally:
        plt.close(figure)
