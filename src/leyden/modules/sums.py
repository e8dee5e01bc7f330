"""Means over a training epoch: summed on the device, read once at its end, kept in checkpoints.

Logging at every step costs more than a small net's step; and a sum that a checkpoint does not hold would make
a resumed epoch report other figures than one that was never interrupted.
"""

import torch
from lightning.pytorch import LightningModule
from torch import Tensor


class EpochSums:
    """Sums of per-sample quantities, by name, on each process for itself.

    Args:
        names: of the quantities that `add` takes, in its order.
    """

    def __init__(self, *names: str) -> None:
        self.names = names
        self.sums = torch.zeros(len(names) + 1)  # the quantities, then the number of samples

    def add(self, *values: Tensor) -> None:
        """Add a batch: for each name a value per sample, (B,)."""
        device = values[0].device
        if self.sums.device != device or self.sums.dtype != exact(device):
            self.sums = self.sums.to(device, exact(device))
        for index, value in enumerate(values):
            self.sums[index] += value.detach().sum(dtype=self.sums.dtype)
        self.sums[-1] += len(values[0])

    def means(self, module: LightningModule, prefix: str) -> dict[str, Tensor]:
        """The mean of each quantity over all processes; starts anew from zero."""
        total = self.gather(module).sum(0)
        self.sums = torch.zeros_like(self.sums)
        return {f"{prefix}{name}": (total[i] / total[-1]).float() for i, name in enumerate(self.names)}

    def gather(self, module: LightningModule) -> Tensor:
        """(processes, quantities + 1) on the CPU: each process's own sums, for a checkpoint."""
        rows = module.all_gather(self.sums.to(module.device))
        assert isinstance(rows, Tensor)
        return rows.reshape(-1, len(self.sums)).cpu()

    def scatter(self, module: LightningModule, rows: Tensor) -> None:
        """Take up what `gather` gave; where there are now fewer or more processes, nothing is lost."""
        rank, world = module.global_rank, module.trainer.world_size
        self.sums = rows[rank::world].sum(0)


def exact(device: torch.device) -> torch.dtype:
    """float64 where the device has it: sums then round alike in any order, to float32."""
    return torch.float32 if device.type == "mps" else torch.float64
