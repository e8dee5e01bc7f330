"""The Trainer with which a run is evaluated."""

import sys
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import Progress

from leyden.errors import UserError

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")


class EvaluationProgress(Callback):
    """Shows a progress bar on stderr, if stderr is a terminal."""

    def __init__(self) -> None:
        self.bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())

    def _start(self, what: str, total: Any) -> None:
        self.bar.start()
        self.task = self.bar.add_task(what, total=total[0])

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start("test", trainer.num_test_batches)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start("validation", trainer.num_val_batches)

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.bar.advance(self.task)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.bar.advance(self.task)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar.stop()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.bar.stop()


def one_device_trainer(accelerator: str, settings: dict[str, Any]) -> Trainer:
    """Return a Trainer that writes nothing and computes as the Trainer of the run did.

    Args:
        accelerator: one of `ACCELERATORS`.
        settings: the run's section ``trainer``.

    Raises:
        UserError: this machine has no such accelerator, or it does not support the precision.
    """
    if accelerator not in ACCELERATORS:
        raise UserError(f"--accelerator: got {accelerator}, must be one of {', '.join(ACCELERATORS)}")
    torch.set_float32_matmul_precision(settings["matmul_precision"])
    try:
        return Trainer(
            accelerator=accelerator,
            devices=1,
            precision=settings["precision"],
            deterministic=settings["deterministic"],
            callbacks=[EvaluationProgress()],
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
    except (ValueError, MisconfigurationException, ModuleNotFoundError) as error:
        raise UserError(f"--accelerator: cannot use {accelerator} ({' '.join(str(error).split())})") from error
