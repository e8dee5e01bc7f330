"""SimCLR (Chen et al., 2020): two views of an image have similar embeddings, views of different images do not.

The embeddings are the outputs of a projector behind the backbone, which is dropped after the training. Differences to
the paper: the optimizer of the config instead of LARS, and batch norm with the statistics of one process.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from leyden.data.loaders import Batch, Flip
from leyden.data.views import Views
from leyden.modules.large_batches import in_chunks, of_all_processes
from leyden.modules.self_supervised import SelfSupervised
from leyden.nets.projection import projection
from leyden.optim import OptimizerFactory, SchedulerFactory


class SimCLR(SelfSupervised):
    """Trains a backbone to recognise the other view of each image among those of all images of the batch.

    Args:
        net, optimizer, scheduler, objective, in_shape, num_classes, bank: see `SelfSupervised`.
        temperature: divides the cosine similarities, above 0.
        projector: sizes of the layers of the projector.
        projector_norm: none, batch or layer.
        chunk: images in a forward pass, see `leyden.modules.large_batches`; 0: all.
        crop, flip, rotate, jitter, grey, blur: see `leyden.data.views.Views`.

    Raises:
        UserError, ValueError: see `SelfSupervised`; also if an argument is out of its range.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        in_shape: tuple[int, ...],
        num_classes: int,
        bank: int,
        temperature: float,
        projector: tuple[int, ...],
        projector_norm: Literal["none", "batch", "layer"],
        chunk: int,
        crop: float,
        flip: Flip,
        rotate: float,
        jitter: float,
        grey: float,
        blur: float,
    ) -> None:
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature: got {temperature}, must be above 0")
        if chunk < 0:
            raise ValueError(f"chunk: got {chunk}, must be at least 0 (0: the whole batch)")
        views = Views(crop, flip, rotate, jitter, grey, blur)
        super().__init__(net, optimizer, scheduler, objective, ("loss",), in_shape, num_classes, bank, views)
        self.temperature, self.chunk = temperature, chunk
        self.projector = projection("projector", self.num_features, projector, projector_norm)

    def embed(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) → embeddings (B, D)."""
        embeddings: Tensor = self.projector(self.net(images))
        return embeddings

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        views = torch.cat((self.view(images), self.view(images)))
        embeddings = in_chunks(self, self.embed, views, self.chunk)
        first, second = (of_all_processes(part) for part in embeddings.chunk(2))
        loss = nt_xent(first, second, self.temperature)
        self.train_means.add(len(images), loss)
        return loss


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the normalised, temperature-scaled cross-entropy, (): which of the 2N - 1 others is the other view?

    Args:
        first, second: embeddings of the two views of N images, (N, D) each.
        temperature: divides the cosine similarities.
    """
    with torch.autocast(first.device.type, enabled=False):
        directions = normalize(torch.cat((first, second)).float(), dim=1)  # (2N, D)
        scores = directions @ directions.T / temperature
    itself = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    other = torch.arange(len(scores), device=scores.device).roll(len(first))
    return cross_entropy(scores.masked_fill(itself, -math.inf), other)
