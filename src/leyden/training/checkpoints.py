"""Checkpoints: when they are written, how, and SIGTERM.

`last.ckpt` is what a killed run is taken up from, in the same bits; `best.ckpt` is what is tested and handed on.
Lightning's `ModelCheckpoint` does not serve here: it forgets the best score when the folder was moved, and what
it saves at the end of an epoch is not yet the end (a plateau schedule and the epoch's log still come after it).
"""

import math
import signal
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from leyden.errors import DivergedError, StoppedError, UserError
from leyden.records.run_folder import best_checkpoint, last_checkpoint, writing
from leyden.training.callbacks import DIVERGED_ADVICE, DivergenceGuard, better

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SIGNAL_INTERVAL = 10  # with several processes, steps between asking each other whether one got a signal


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a partial file and renames it; reads plain values and tensors only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with writing(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint


class Checkpoints(Checkpoint):
    """Writes `last.ckpt` every `every_n_steps` optimizer steps, between epochs and at the end, and `best.ckpt`
    after each validation that beats all before.

    A state in the middle of an accumulated gradient, or after an epoch's last batch but before its validation,
    is never saved: it could not be taken up exactly. SIGTERM and Ctrl-C save at the next state that can, and exit.

    Args:
        folder: the run folder.
        metric, mode: the objective.
        every_n_steps: 0 for only between epochs.
        guard: asked before each save, so that no diverged weights are written.
    """

    def __init__(self, folder: Path, metric: str, mode: str, every_n_steps: int, guard: DivergenceGuard) -> None:
        self.folder, self.metric, self.mode = folder, metric, mode
        self.every_n_steps, self.guard = every_n_steps, guard
        self.best_score = math.inf if mode == "min" else -math.inf
        self.best_epoch = -1
        self.best_metrics: dict[str, float] = {}
        self.signum = 0
        self.between_epochs = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning's own handler talks to the other processes from inside the handler, amid whatever they
        # were saying to each other; this one replaces it until training ends.
        for signum in SIGNALS:
            signal.signal(signum, self._on_signal)

    def _on_signal(self, signum: int, frame: object) -> None:
        self.signum = signum
        signal.signal(signum, signal.SIG_DFL)  # a second one does not wait

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch > 0:
            self.between_epochs = True
            self._save_last(trainer)
            self.between_epochs = False
        self._stop_if_asked(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        step = trainer.global_step
        signum = self._asked_to_stop(trainer) if trainer.world_size == 1 or step % SIGNAL_INTERVAL == 0 else 0
        if signum or (self.every_n_steps and step % self.every_n_steps == 0):
            self._save_last(trainer)
        if signum:
            self._stop(trainer, signum)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning takes a run that was resumed for one resumed at an epoch's end, and does not show this epoch's
        # metric to a plateau schedule; no checkpoint here is from an epoch's end.
        trainer.fit_loop.restarting = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit":
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        if self.metric not in metrics:
            raise UserError(f"objective.metric: nothing logs {self.metric}; there are {', '.join(sorted(metrics))}")
        if self.best_epoch < 0 or better(metrics[self.metric], self.best_score, self.mode):
            self.best_score, self.best_epoch, self.best_metrics = metrics[self.metric], trainer.current_epoch, metrics
            self._check_weights(pl_module, trainer)
            trainer.save_checkpoint(best_checkpoint(self.folder))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save_last(trainer)
        self._stop_if_asked(trainer)

    def _save_last(self, trainer: Trainer) -> None:
        self.guard.check(trainer)
        self._check_weights(trainer.lightning_module, trainer)
        trainer.save_checkpoint(last_checkpoint(self.folder))

    def _check_weights(self, pl_module: LightningModule, trainer: Trainer) -> None:
        """A finite loss can still have had a gradient that is not."""
        if not all(bool(weight.isfinite().all()) for weight in pl_module.state_dict().values()):
            raise DivergedError(f"a weight is not finite at step {trainer.global_step}; {DIVERGED_ADVICE}")

    def _asked_to_stop(self, trainer: Trainer) -> int:
        """The number of the signal that any of the processes got, or 0."""
        if trainer.world_size == 1:
            return self.signum
        signums = torch.tensor(self.signum, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(signums, reduce_op="max"))

    def _stop_if_asked(self, trainer: Trainer) -> None:
        if signum := self._asked_to_stop(trainer):
            self._stop(trainer, signum)

    def _stop(self, trainer: Trainer, signum: int) -> NoReturn:
        raise StoppedError(
            f"stopped by {signal.Signals(signum).name} at step {trainer.global_step}, nothing is lost; "
            f"go on with: python train.py resume={self.folder}",
            signum,
        )

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.between_epochs:
            # Lightning has already counted the coming epoch as begun, and would take a checkpoint that says so
            # for one in the middle of it. Between epochs means: as many begun as completed.
            for counter in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                counter["ready"] = counter["completed"]

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_epoch": self.best_epoch, "best_metrics": self.best_metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]
        self.best_metrics = state_dict["best_metrics"]
