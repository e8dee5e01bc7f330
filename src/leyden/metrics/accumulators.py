"""Means over an epoch: summed on the device, read from it every 50 steps, and stored in checkpoints.

Logging in every step costs more time than a step of a small net. The sums are part of a checkpoint, so that the
metrics of a resumed epoch equal those of an uninterrupted one.
"""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torchmetrics import MetricCollection

READ_EVERY = 50  # steps; reading in every step would make a GPU wait for the CPU


class EpochMeanAccumulator:
    """Computes means over samples from means over batches, for several named quantities.

    Args:
        names: names of the quantities, in the order in which `add` takes them.
    """

    def __init__(self, *names: str) -> None:
        self.names = names
        self.sums = [0.0] * len(names)  # Python floats (float64), added in batch order whenever they are read
        self.num_samples = 0
        self.unread: list[tuple[Tensor, ...]] = []
        self.unread_sizes: list[int | Tensor] = []

    def add(self, num: int | Tensor, *means: Tensor) -> None:
        """Add a batch of `num` samples: the mean of each quantity over the batch, (). `num` may be on the device."""
        self.unread.append(tuple(mean.detach() for mean in means))
        self.unread_sizes.append(num)
        if len(self.unread) == READ_EVERY:
            self._read()

    def _read(self) -> None:
        sizes = [int(num) for num in self.unread_sizes]
        for index in range(len(self.names)):
            values = torch.stack([means[index] for means in self.unread]).tolist() if self.unread else []
            for value, num in zip(values, sizes, strict=True):
                self.sums[index] += value * num
        self.num_samples += sum(sizes)
        self.unread, self.unread_sizes = [], []

    def means(self, module: LightningModule, prefix: str) -> dict[str, Tensor]:
        """Return the means over the samples of all processes, and reset the sums to zero.

        Returns:
            Prefixed name → mean, (), float32 on the CPU. It does not depend on the order of the summation.
        """
        total = self.totals(module)
        self.sums, self.num_samples = [0.0] * len(self.names), 0
        return {f"{prefix}{name}": (total[i] / total[-1]).float() for i, name in enumerate(self.names)}

    def state(self, module: LightningModule) -> Tensor:
        """Return the sums and the number of samples of each process, for a checkpoint.

        Returns:
            float64 (processes, quantities + 1) on the CPU, the same on every process.
        """
        self._read()
        row = torch.tensor([[*self.sums, self.num_samples]], dtype=torch.float64)
        if module.trainer.world_size == 1:
            return row
        rows = module.all_gather(row.to(module.device))
        assert isinstance(rows, Tensor)
        return rows.flatten(0, 1).cpu()

    def totals(self, module: LightningModule) -> Tensor:
        """Return the sums and the number of samples over all processes, float64 (quantities + 1,) on the CPU."""
        return self.state(module).sum(0)

    def load_state(self, module: LightningModule, rows: Tensor) -> None:
        """Restore the sums that `state` returned. None is lost if the number of processes has changed."""
        rank, world = module.global_rank, module.trainer.world_size
        *self.sums, num_samples = rows[rank::world].sum(0).tolist()
        self.num_samples = int(num_samples)


class ExactMetrics(MetricCollection):
    """Metrics of numbers, summed in float64.

    In float32 the last digits of a sum depend on its order, which depends on the number of processes.
    """

    def update(self, *args: Any, **kwargs: Any) -> None:
        outputs, targets = args
        dtype = torch.float32 if outputs.device.type == "mps" else torch.float64  # MPS has no float64
        self.set_dtype(dtype)
        super().update(outputs.to(dtype), targets.to(dtype), **kwargs)
