"""When checkpoints are written, and what happens on SIGTERM, SIGHUP and Ctrl-C.

A killed run resumes from `last.ckpt` in the same bits; `best.ckpt` is what is tested and shared. Lightning's
`ModelCheckpoint` does not fit: it forgets the best score if the folder is moved, and what it saves at the end of
an epoch is not yet the end, because the plateau schedule and the metrics of the epoch come after it.
"""

import math
import signal
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from leyden.errors import DivergedError, StoppedError, UserError
from leyden.records.run_folder import best_checkpoint, last_checkpoint, previous_checkpoint, refuse_link
from leyden.training.callbacks import DIVERGED_ADVICE, DivergenceGuard, better
from leyden.training.fast_loop import mark_between_epochs, step_plateau_schedules
from leyden.training.signals import replace_handlers, stop_message

# Entries of a checkpoint that only a training needs. Adam's state alone is twice as large as the weights.
TRAINING_ENTRIES = ("optimizer_states", "lr_schedulers", "callbacks")
SIGNAL_INTERVAL = 10  # steps; with several processes they ask each other only so often whether one got a signal


class Checkpoints(Checkpoint):
    """Writes `last.ckpt` every `every_n_steps` optimizer steps, between epochs and at the end; and `best.ckpt` after
    each validation that is better than all before. `best.ckpt` lacks `TRAINING_ENTRIES`: it is only tested and loaded.

    The checkpoint before `last.ckpt` is kept as `previous.ckpt`, in case the disk damages the last one. A state in the
    middle of an accumulated gradient, or after an epoch's last batch and before its validation, is never saved: a run
    could not resume from it exactly. A signal ends the run at the next state that can be saved.

    Args:
        folder: the run folder.
        metric: the objective.
        mode: whether its best value is the largest (max) or the smallest (min).
        every_n_steps: number of optimizer steps; 0: only between epochs.
        guard: checked before each save, so that diverged weights are never written.
        keeps_last: the last validation counts as the best: the validation samples are trained on, so their metrics say
            nothing about others.
    """

    def __init__(
        self,
        folder: Path,
        metric: str,
        mode: str,
        every_n_steps: int,
        guard: DivergenceGuard,
        keeps_last: bool = False,
    ) -> None:
        self.folder, self.metric, self.mode = folder, metric, mode
        self.every_n_steps, self.guard, self.keeps_last = every_n_steps, guard, keeps_last
        self.best_score = math.inf if mode == "min" else -math.inf
        self.best_epoch = -1
        self.best_metrics: dict[str, float] = {}
        self.signum = 0
        self.between_epochs = self.is_best = False  # of the checkpoint that is being saved

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning's own handler talks to the other processes from inside the handler, in the middle of whatever they
        # are exchanging. This one replaces it until training ends.
        replace_handlers(self._on_signal)

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
        step_plateau_schedules(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A run that max_steps or max_time ends before its first validation is validated once after the training.
        if trainer.state.fn != "fit" and (trainer.state.fn != "validate" or self.best_epoch >= 0):
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        if self.metric not in metrics:
            raise UserError(
                f"objective.metric: got {self.metric}, which is not logged; must be one of {', '.join(sorted(metrics))}"
            )
        if self.best_epoch < 0 or self.keeps_last or self._improves(metrics):
            self.best_score, self.best_epoch, self.best_metrics = metrics[self.metric], trainer.current_epoch, metrics
            self._check_weights(pl_module, trainer)
            self.is_best = True
            trainer.save_checkpoint(best_checkpoint(self.folder))
            self.is_best = False

    def _improves(self, metrics: dict[str, float]) -> bool:
        """Whether these metrics are better than the best so far; if the objective is equal, the loss decides."""
        value, loss = metrics[self.metric], "val/loss"
        if value == self.best_score and loss in metrics and loss in self.best_metrics:
            return better(metrics[loss], self.best_metrics[loss], "min")
        return better(value, self.best_score, self.mode)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save_last(trainer)
        self._stop_if_asked(trainer)

    def _save_last(self, trainer: Trainer) -> None:
        self.guard.check(trainer)
        self._check_weights(trainer.lightning_module, trainer)
        last, previous = last_checkpoint(self.folder), previous_checkpoint(self.folder)
        if trainer.is_global_zero and last.exists():
            refuse_link(last)
            last.replace(previous)
        trainer.save_checkpoint(last)

    def _check_weights(self, pl_module: LightningModule, trainer: Trainer) -> None:
        """Raise DivergedError if a weight is not finite: the gradient of a finite loss can be infinite.

        Rank 0 decides for all, since running means differ between processes.
        """
        if not trainer.strategy.broadcast(all_finite(list(pl_module.state_dict().values())), src=0):
            raise DivergedError(f"a weight is not finite at step {trainer.global_step}. {DIVERGED_ADVICE}")

    def _asked_to_stop(self, trainer: Trainer) -> int:
        """Return the number of the signal that any of the processes got, or 0."""
        if trainer.world_size == 1:
            return self.signum
        signums = torch.tensor(self.signum, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(signums, reduce_op="max"))

    def _stop_if_asked(self, trainer: Trainer) -> None:
        if signum := self._asked_to_stop(trainer):
            self._stop(trainer, signum)

    def _stop(self, trainer: Trainer, signum: int) -> NoReturn:
        raise StoppedError(stop_message(signum, f"at step {trainer.global_step}", self.folder), signum)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.between_epochs:
            mark_between_epochs(checkpoint)
        if self.is_best:
            # Not `save_checkpoint(weights_only=True)`: it skips callbacks that change the saved weights (averages).
            for name in TRAINING_ENTRIES:
                del checkpoint[name]

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_epoch": self.best_epoch, "best_metrics": self.best_metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]
        self.best_metrics = state_dict["best_metrics"]


def all_finite(tensors: list[Tensor]) -> bool:
    """Whether all floating point numbers in `tensors` are finite. Reads from the device once, not once per tensor."""
    floats = [tensor for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    if not floats:
        return True
    # The smallest and the largest number are NaN if one number is. On a CPU this is 15 times as fast as a norm.
    return bool(torch.stack([bound for tensor in floats for bound in tensor.aminmax()]).isfinite().all())
