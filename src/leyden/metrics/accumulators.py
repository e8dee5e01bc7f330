"""Means over a training epoch: kept on the device, read now and then, held in checkpoints.

Logging at every step costs more than a small net's step; and what a checkpoint does not hold would make a
resumed epoch report other figures than one that was never interrupted.
"""

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

READ_EVERY = 50  # steps; reading at each would make a GPU wait for the CPU


class EpochMeanAccumulator:
    """Means over samples of quantities that come as means over batches, by name.

    Args:
        names: of the quantities that `add` takes, in its order.
    """

    def __init__(self, *names: str) -> None:
        self.names = names
        self.sums = [0.0] * len(names)  # float64, added to in the order of the batches, whenever they are read
        self.num_samples = 0
        self.unread: list[tuple[Tensor, ...]] = []
        self.unread_sizes: list[int] = []

    def add(self, num: int, *means: Tensor) -> None:
        """Add a batch of `num` samples: for each name its mean over them, ()."""
        self.unread.append(tuple(mean.detach() for mean in means))
        self.unread_sizes.append(num)
        if len(self.unread) == READ_EVERY:
            self._read()

    def _read(self) -> None:
        for index in range(len(self.names)):
            values = torch.stack([means[index] for means in self.unread]).tolist() if self.unread else []
            for value, num in zip(values, self.unread_sizes, strict=True):
                self.sums[index] += value * num
        self.num_samples += sum(self.unread_sizes)
        self.unread, self.unread_sizes = [], []

    def means(self, module: LightningModule, prefix: str) -> dict[str, Tensor]:
        """Prefixed name → mean over all processes, float32, so that the order of a sum cannot show; starts anew."""
        total = self.gather(module).sum(0)
        self.sums, self.num_samples = [0.0] * len(self.names), 0
        return {f"{prefix}{name}": (total[i] / total[-1]).float() for i, name in enumerate(self.names)}

    def gather(self, module: LightningModule) -> Tensor:
        """float64 (processes, quantities + 1) on the CPU: each process's own sums and samples, for a checkpoint."""
        self._read()
        row = torch.tensor([[*self.sums, self.num_samples]], dtype=torch.float64)
        if module.trainer.world_size == 1:
            return row
        rows = module.all_gather(row.to(module.device))
        assert isinstance(rows, Tensor)
        return rows.flatten(0, 1).cpu()

    def scatter(self, module: LightningModule, rows: Tensor) -> None:
        """Take up what `gather` gave; where there are now fewer or more processes, nothing is lost."""
        rank, world = module.global_rank, module.trainer.world_size
        *self.sums, num_samples = rows[rank::world].sum(0).tolist()
        self.num_samples = int(num_samples)
