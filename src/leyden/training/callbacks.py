"""What Lightning's own callbacks do not bring: steps that can be repeated, divergence, throughput, plain progress."""

import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from leyden.errors import DivergedError
from leyden.seeding import seed_all

DIVERGED_ADVICE = "the last good checkpoint is kept. Try a smaller optimizer.lr or trainer.gradient_clip_val=1"


class StepSeed(Callback):
    """Seeds every generator anew at each step, as a function of (seed, epoch, batch, rank).

    So dropout draws the same in a run that was killed and resumed as in one that was not, on every process,
    and no generator's state needs to be kept. Costs 20 µs a step.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        seed_all(pl_module.device, self.seed, "step", trainer.current_epoch, batch_idx, trainer.global_rank)


class SameBuffers(Callback):
    """Before each validation, gives every process of a DDP run the buffers of the first.

    Each has its own running means of batch norm, from its own batches; the checkpoint holds the first's, and
    so must do what is validated.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:
            for buffer in pl_module.buffers():
                torch.distributed.broadcast(buffer, src=0)


class DivergenceGuard(Callback):
    """Stops the run when a loss is not finite, and says at which step.

    Losses are collected on the device and looked at every `interval` steps, before each checkpoint and at the
    epoch's end: looking at each would make a GPU wait for the CPU at every step.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self.losses: list[Tensor] = []
        self.steps: list[int] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(outputs["loss"].detach())
        self.steps.append(trainer.global_step)
        if len(self.losses) == self.interval:
            self.check(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check(trainer)

    def check(self, trainer: Trainer) -> None:
        """Raises DivergedError, on all processes alike, if a loss since the last check was not finite."""
        if not self.losses:
            return
        finite = torch.stack(self.losses).isfinite()
        bad = (~finite).int().argmax() if not finite.all() else torch.tensor(len(finite), device=finite.device)
        first, steps = int(trainer.strategy.reduce(bad, reduce_op="min")), self.steps
        self.losses, self.steps = [], []
        if first < len(steps):
            raise DivergedError(f"the loss is not finite at step {steps[first]}; {DIVERGED_ADVICE}")


class EarlyStopping(LightningEarlyStopping):
    """Lightning's, but a patience given when a run is resumed counts, and not the one it was saved with."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})


class NoProfiler(PassThroughProfiler):
    """Lightning enters a generator around each hook of each callback even where nothing is profiled: 0.1 ms a step."""

    nothing = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self.nothing


class EpochStats(Callback):
    """Logs beside each epoch's metrics the learning rate it ended with, its samples per second and its seconds.

    Validation and checkpoints between epochs are left out of the time. Lightning's `LearningRateMonitor` and
    `ThroughputMonitor` write under steps of their own, which would make more rows of each epoch.
    """

    def __init__(self) -> None:
        self.started = self.seconds = 0.0
        self.samples = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self.samples:
            self.started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.samples += len(batch[0])
        if trainer.is_last_batch:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize()
            self.seconds = time.perf_counter() - self.started

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log_dict(
            {
                "lr": trainer.optimizers[0].param_groups[0]["lr"],
                "time/images_per_second": self.samples * trainer.world_size / self.seconds,
                "time/train_seconds": self.seconds,
            }
        )
        self.samples = 0


class ProgressBar(RichProgressBar):
    """Lightning's, without the version number of loggers that have none."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=20)  # drawing at every step would be slower than a small net's step

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        figures = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in figures.items() if name != "v_num"}


class PlainProgress(Callback):
    """A line per epoch, for logs and pipes, where a progress bar would be noise.

    Args:
        metric: the objective, shown beside the losses.
    """

    def __init__(self, metric: str) -> None:
        self.names = {"train/loss", "val/loss", metric}

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()

    @rank_zero_only
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)  # the epoch before; at its end its training figures are not there yet

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)

    def _print(self, trainer: Trainer) -> None:
        figures = {name: value for name, value in trainer.callback_metrics.items() if name in self.names}
        if figures:
            seconds = time.perf_counter() - self.started
            epochs = f"{trainer.current_epoch}/{trainer.max_epochs}"
            print(f"epoch {epochs}  {metrics_line(figures)}  {seconds:.1f} s", flush=True)


def metrics_line(metrics: Mapping[str, Tensor | float]) -> str:
    """``val/acc 0.9812  val/loss 0.0613``"""
    return "  ".join(f"{name} {float(value):.4f}" for name, value in sorted(metrics.items()))


def better(value: float, than: float, mode: str) -> bool:
    """Whether `value` beats `than`; NaN never does, and anything else beats it."""
    if math.isnan(value) or math.isnan(than):
        return not math.isnan(value)
    return value > than if mode == "max" else value < than
