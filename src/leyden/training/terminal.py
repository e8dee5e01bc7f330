"""Progress in the terminal: a bar, or a line per epoch where the output is a file or a pipe."""

import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor


class ProgressBar(RichProgressBar):
    """Lightning's progress bar, without the field ``v_num``."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=20)  # drawing at every step would take longer than a step of a small net

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in metrics.items() if name != "v_num"}


class PlainProgress(Callback):
    """Prints a line per epoch, for log files and pipes.

    Args:
        metric: the objective, shown after the losses.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.validated = False

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()

    @rank_zero_only
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)  # the previous epoch: at its end its training metrics are not there yet

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated = True

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)

    def _print(self, trainer: Trainer) -> None:
        names = {"train/loss", *({"val/loss", self.metric} if self.validated else ())}
        metrics = {name: value for name, value in trainer.callback_metrics.items() if name in names}
        self.validated = False
        if metrics:
            seconds = time.perf_counter() - self.started
            print_line(f"epoch {trainer.current_epoch}/{trainer.max_epochs}  {metrics_line(metrics)}  {seconds:.1f} s")


def print_line(text: str) -> None:
    """Print `text`. If the reader has closed the pipe, as ``| head -1`` does, the training continues."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 (it stays open until the process ends)


def metrics_line(metrics: Mapping[str, Tensor | float]) -> str:
    """Return ``val/acc 0.9812  val/loss 0.0613``."""
    return "  ".join(f"{name} {float(value):.4f}" for name, value in sorted(metrics.items()))
