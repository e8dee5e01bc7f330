"""Progress in the terminal: a line per epoch, and below them a bar unless the output is a file or a pipe."""

import os
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.utilities import rank_zero_only
from rich.progress import ProgressColumn, Task
from rich.text import Text
from torch import Tensor


class EpochLines:
    """Composes a line for each finished epoch, such as ``epoch 3/10  train/loss 0.2151  val/acc 0.9812  4.1 s``.

    Args:
        metric: the objective, shown in addition to the losses.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.validated = False
        self.started = time.perf_counter()

    def finished(self, trainer: Trainer) -> str:
        """Return the line of the epoch that has just ended, or an empty text before the first one.

        Call it when the next epoch starts, or the training ends: before that, its training metrics are not there yet.
        """
        names = {"train/loss", *({"val/loss", self.metric} if self.validated else ())}
        metrics = {name: value for name, value in trainer.callback_metrics.items() if name in names}
        self.validated = False
        if not metrics:
            return ""
        seconds = time.perf_counter() - self.started
        return f"epoch {trainer.current_epoch}/{trainer.max_epochs}  {metrics_line(metrics)}  {seconds:.1f} s"


class ProgressBar(RichProgressBar):
    """Lightning's progress bar, below a line for each past epoch. Epochs count from 1. There is no field ``v_num``.

    Args:
        metric: the objective, shown in the lines.
    """

    def __init__(self, metric: str) -> None:
        super().__init__(refresh_rate=20)  # drawing at every step would take longer than a step of a small net
        self.lines = EpochLines(metric)
        self.epoch = 0  # from 1

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        _, *others = super().configure_columns(trainer)
        return [Description(self), *others]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in metrics.items() if name != "v_num"}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.lines.started = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)
        self.epoch = trainer.current_epoch + 1
        super().on_train_epoch_start(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        self.lines.validated = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)
        super().on_train_end(trainer, pl_module)

    def _print(self, trainer: Trainer) -> None:
        if self.progress is not None and (line := self.lines.finished(trainer)):
            self.progress.console.print(line, highlight=False, markup=False, soft_wrap=True)


class Description(ProgressColumn):
    """The text in front of a bar. That of an epoch counts from 1; Lightning counts from 0.

    Args:
        bar: the callback that owns the bars.
    """

    def __init__(self, bar: ProgressBar) -> None:
        super().__init__()
        self.bar = bar

    def render(self, task: Task) -> Text:
        found = re.match(r"Epoch \d+(?:/(\d+))?$", task.description.strip())
        if not found:
            return Text(task.description)
        last = f"/{int(found[1]) + 1}" if found[1] else ""
        return Text(f"Epoch {self.bar.epoch}{last}")


class PlainProgress(Callback):
    """Prints a line per epoch, for log files and pipes.

    Args:
        metric: the objective, shown after the losses.
    """

    def __init__(self, metric: str) -> None:
        self.lines = EpochLines(metric)

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.lines.started = time.perf_counter()

    @rank_zero_only
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.lines.validated = True

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)

    def _print(self, trainer: Trainer) -> None:
        if line := self.lines.finished(trainer):
            print_line(line)


def print_line(text: str) -> None:
    """Print `text`. If the reader has closed the pipe, as ``| head -1`` does, the training continues."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 (it stays open until the process ends)


def metrics_line(metrics: Mapping[str, Tensor | float]) -> str:
    """Return ``val/acc 0.9812  val/loss 0.0613``."""
    return "  ".join(f"{name} {float(value):.4f}" for name, value in sorted(metrics.items()))
