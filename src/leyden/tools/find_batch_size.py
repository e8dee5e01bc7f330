"""Train for a moment with batches of growing size: which fits into the memory, and which is fastest."""

import gc
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from leyden.config.compose import compose
from leyden.data.file_access import GB
from leyden.errors import UserError
from leyden.tools.short_training import ShortTraining

WARMUP_STEPS = 3
MIN_STEPS, MIN_SECONDS, MAX_STEPS = 5, 0.5, 1000  # of a measurement
ENOUGH = 0.95  # a size is as fast as the fastest one from this fraction of its rate on
MEMORY_FRACTION = 0.8  # of the memory of the machine, for the process, on the CPU


@dataclass(frozen=True)
class Measurement:
    """What training with one batch size needs.

    Args:
        batch_size: samples per step.
        rate: samples per second, the median over the steps.
        seconds: duration of a step, the median.
        memory: largest memory in bytes: of the device, or on the CPU of the process. None where it cannot be measured.
    """

    batch_size: int
    rate: float
    seconds: float
    memory: int | None


class Stopwatch(Callback):
    """Measures steps after a few others, and ends the training when it has measured enough."""

    def __init__(self) -> None:
        self.steps = 0
        self.since = 0.0
        self.seconds: list[float] = []  # of each measured step
        self.rates: list[float] = []  # samples per second in each measured step

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.device.type != "cpu":
            torch.accelerator.synchronize(pl_module.device)
        now = time.perf_counter()
        self.steps += 1
        if self.steps > WARMUP_STEPS:
            self.seconds.append(now - self.since)
            self.rates.append(len(batch[0]) / self.seconds[-1])
        self.since = now
        if len(self.seconds) >= MIN_STEPS and sum(self.seconds) >= MIN_SECONDS:
            trainer.should_stop = True


class BatchSizes:
    """Measures batch sizes, each twice the one before, until one does not fit or the training split is smaller.

    Args:
        overrides: the training, as for ``python train.py``.
        smallest: the first batch size.
        largest: the last batch size; None: the number of training samples.
        memory: limit for the process in bytes, on the CPU; None: `MEMORY_FRACTION` of the machine.

    Attributes:
        reason: why the last size was the last one.
    """

    def __init__(
        self, overrides: Sequence[str], smallest: int = 8, largest: int | None = None, memory: int | None = None
    ) -> None:
        if smallest < 1:
            raise UserError(f"--min: got {smallest}, must be at least 1")
        if largest is not None and largest < smallest:
            raise UserError(f"--max: got {largest}, must be at least --min, here {smallest}")
        self.training = ShortTraining(compose(*overrides))
        self.smallest = min(smallest, self.training.num_samples)
        self.largest = min(largest or sys.maxsize, self.training.num_samples)
        self.memory = memory or round(MEMORY_FRACTION * machine_memory())
        self.reason = ""

    def __iter__(self) -> Iterator[Measurement]:
        size, before = self.smallest, process_memory() or 0
        while True:
            found = self.measure(size)
            if found is None:
                self.reason = f"{size:,} does not fit into the memory of the device"
                return
            yield found
            if size * 2 > self.largest:
                self.reason = self._last_reason()
                return
            used = process_memory() if self._device() == "cpu" else None
            if used is not None:
                expected = used + 2 * max(used - before, 0)  # the increase doubles with the size
                if expected > self.memory:
                    self.reason = f"{2 * size:,} would need about {expected / GB:.1f} GB of {self.memory / GB:.1f} GB"
                    return
                before = used
            size *= 2

    def _last_reason(self) -> str:
        if self.largest == self.training.num_samples:
            return f"the training split has {self.training.num_samples:,} samples"
        return f"--max is {self.largest:,}"

    def _device(self) -> str:
        """Return the type of the device on which the data is: the CPU before the first training."""
        train = self.training.data.train
        assert train is not None
        return train[0].device.type

    def measure(self, size: int) -> Measurement | None:
        """Train with one batch size. Return None if the memory is not sufficient."""
        self.training.data.batch_size = size
        watch = Stopwatch()
        try:
            if self._device() == "cuda":
                torch.cuda.reset_peak_memory_stats()
            self.training.train([watch], MAX_STEPS)
        except torch.OutOfMemoryError:
            return None
        except RuntimeError as error:
            if "allocate memory" not in str(error):  # the text of torch's allocator for the CPU
                raise
            return None
        finally:
            if self._device() == "cuda":
                gc.collect()  # the last Trainer and its module refer to each other
                torch.cuda.empty_cache()
        return Measurement(size, median(watch.rates), median(watch.seconds), self._memory())

    def _memory(self) -> int | None:
        device = self._device()
        if device == "cuda":
            return torch.cuda.max_memory_allocated()
        return process_memory() if device == "cpu" else None


def best(found: Sequence[Measurement]) -> Measurement:
    """Return the smallest batch size that is almost as fast as the fastest one."""
    fastest = max(one.rate for one in found)
    return next(one for one in found if one.rate >= ENOUGH * fastest)


def process_memory() -> int | None:
    """Return the largest memory in bytes that this process has had, or None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def machine_memory() -> int:
    """Return the memory in bytes that this process may use: of the machine, or of its container."""
    try:
        from os import sysconf
    except ImportError:  # Windows
        return sys.maxsize
    total = sysconf("SC_PAGE_SIZE") * sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else ""
    return min(total, int(text)) if text.isdecimal() else total
