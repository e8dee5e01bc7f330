"""Callbacks for repeatable steps, the exact position of a resume, divergence, throughput, and progress as text."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from leyden.errors import DivergedError, UserError
from leyden.seeding import seed_all
from leyden.training.fast_loop import position_of_older_checkpoint

DIVERGED_ADVICE = "Try a smaller optimizer.lr or trainer.gradient_clip_val=1"


class StepSeed(Callback):
    """Seeds every random generator at each step, as a function of (seed, epoch, batch, rank).

    Therefore a resumed run and an uninterrupted run have the same dropout, and the state of the generators is not
    stored. This takes 20 µs per step.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        seed_all(pl_module.device, self.seed, "step", trainer.current_epoch, batch_idx, trainer.global_rank)


class ResumePosition(Callback):
    """Counts samples and steps, so that a resumed run continues at the exact sample. Its state is in each checkpoint.

    Args:
        batch_size: samples per step and process.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.epoch = self.samples = self.steps = self.world = 0
        self.trainer: Trainer | None = None

    def position(self) -> tuple[int, int]:
        """Return (epoch, samples of this epoch that all processes together have used)."""
        epoch = self.trainer.current_epoch if self.trainer else self.epoch
        return epoch, self.samples if epoch == self.epoch else 0

    @property
    def first_step(self) -> int:
        """The first step that is logged by a run that resumes from this state.

        A checkpoint within an epoch is saved before the metrics of its last step are logged.
        """
        return self.steps - (self.samples > 0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.trainer, self.world = trainer, trainer.world_size

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch != self.epoch:
            self.epoch, self.samples = trainer.current_epoch, 0
        self.samples += self.batch_size * self.world
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self.steps += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epoch, self.samples = trainer.current_epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "samples": self.samples, "steps": self.steps, "processes": self.world}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epoch, self.samples, self.steps = (int(state_dict[name]) for name in ("epoch", "samples", "steps"))

    def load(self, checkpoint: Mapping[str, Any], processes: int) -> int:
        """Read the position from `checkpoint`. The loggers need it before the Trainer restores it.

        Returns:
            the first step that the resumed run logs.

        Raises:
            UserError: the run had another number of processes. Then the samples would be divided differently.
        """
        state = checkpoint["callbacks"].get(self.state_key) if "callbacks" in checkpoint else None
        if state is None:  # of an earlier version
            epoch, batches, first_step = position_of_older_checkpoint(checkpoint)
            samples = batches * self.batch_size * processes
            state = {"epoch": epoch, "samples": samples, "steps": first_step + (samples > 0), "processes": processes}
        if state["processes"] != processes:
            raise UserError(
                f"trainer.devices: the run was trained by {state['processes']} processes. It cannot be "
                f"resumed with {processes}"
            )
        self.load_state_dict(state)
        return self.first_step


class ConfigWriter(Callback):
    """Writes the config of a resumed run when its training starts, so that a mistake in an override is not stored.

    Args:
        write: writes config.yaml.
    """

    def __init__(self, write: Callable[[], None]) -> None:
        self.write = write

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.write()


class SameBuffers(Callback):
    """Before each validation, copies the buffers of rank 0 to every process.

    Each process has its own running means of batch norm, from its own batches. The checkpoint contains the means of
    rank 0, so the validation must use them, too.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:
            for buffer in pl_module.buffers():
                torch.distributed.broadcast(buffer, src=0)


class DivergenceGuard(Callback):
    """Stops the run when a loss is not finite, and reports at which step.

    Losses are collected on the device and checked every `interval` steps, before each checkpoint and at the end of an
    epoch: a check at each step would make a GPU wait for the CPU.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self.losses: list[Tensor] = []
        self.steps: list[int] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if "loss" not in outputs:
            return
        self.losses.append(outputs["loss"].detach())
        self.steps.append(trainer.global_step)
        if len(self.losses) == self.interval:
            self.check(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check(trainer)

    def check(self, trainer: Trainer) -> None:
        """Raise DivergedError, on all processes, if a loss since the last check was not finite."""
        if not self.losses:
            return
        finite = torch.stack(self.losses).isfinite()
        bad = (~finite).int().argmax() if not finite.all() else torch.tensor(len(finite), device=finite.device)
        first, steps = int(trainer.strategy.reduce(bad, reduce_op="min")), self.steps
        self.losses, self.steps = [], []
        if first < len(steps):
            raise DivergedError(f"the loss is not finite at step {steps[first]}. {DIVERGED_ADVICE}")


class EarlyStopping(LightningEarlyStopping):
    """Lightning's EarlyStopping, except that a resumed run uses the patience of its config, not the stored one.

    It also prints that the run stops early, which Lightning only logs.
    """

    has_new_value = False

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        self.has_new_value = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.has_new_value:  # trainer.max_steps can end the last epoch before its validation
            super().on_train_epoch_end(trainer, pl_module)
        self.has_new_value = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A run that had stopped early, but was killed before its report, must not train again when it is resumed.
        if self.has_stopped():
            trainer.should_stop = True

    def has_stopped(self) -> bool:
        """Whether the objective has not improved for `patience` epochs."""
        return bool(self.stopped_epoch and self.wait_count >= self.patience)

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.stopped_epoch and trainer.current_epoch < (trainer.max_epochs or 0):
            print(
                f"stopped early: {self.monitor} has not improved for {self.patience} epochs "
                f"(early_stopping.patience), epoch {trainer.current_epoch} of {trainer.max_epochs}",
                flush=True,
            )


class EpochStats(Callback):
    """Logs the learning rate, the samples per second and the seconds of each epoch.

    The time contains neither validation nor checkpoints between epochs. Lightning's `LearningRateMonitor` and
    `ThroughputMonitor` log at steps of their own, which would give each epoch several rows in metrics.csv.
    """

    def __init__(self) -> None:
        self.started = self.seconds = 0.0
        self.samples = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self.samples:
            self.started, self.seconds = time.perf_counter(), 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.samples += len(batch[0])
        if trainer.is_last_batch:
            self._stop(pl_module.device)

    def _stop(self, device: torch.device) -> None:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        self.seconds = time.perf_counter() - self.started

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.seconds:  # the epoch ended before its last batch, by max_steps or max_time
            self._stop(pl_module.device)
        pl_module.log_dict(
            {
                "lr": trainer.optimizers[0].param_groups[0]["lr"],
                "time/images_per_second": self.samples * trainer.world_size / self.seconds,
                "time/train_seconds": self.seconds,
            }
        )
        self.samples = 0


def better(value: float, than: float, mode: str) -> bool:
    """Return whether `value` is better than `than`. NaN is worse than every number."""
    if math.isnan(value) or math.isnan(than):
        return not math.isnan(value)
    return value > than if mode == "max" else value < than
