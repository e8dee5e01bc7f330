"""VICReg (Bardes et al., 2022): views of an image have equal embeddings, whose dimensions vary and are uncorrelated.

There are no negative samples: the variance term keeps the embeddings of a batch from collapsing to one point, and the
covariance term keeps their dimensions from saying the same. Differences to the paper: the optimizer of the config
instead of LARS, and a smaller projector by default.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from leyden.data.loaders import Batch, Flip
from leyden.data.views import Views
from leyden.modules.large_batches import in_chunks, of_all_processes
from leyden.modules.self_supervised import SelfSupervised
from leyden.nets.projection import projection
from leyden.optim import OptimizerFactory, SchedulerFactory


class VICReg(SelfSupervised):
    """Trains a backbone with the terms invariance, variance and covariance. Logs each as well.

    Args:
        net, optimizer, scheduler, objective, in_shape, num_classes, bank: see `SelfSupervised`.
        invariance, variance, covariance: weight of each term, at least 0.
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
        invariance: float,
        variance: float,
        covariance: float,
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
        weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
        for name, value in weights.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: got {value}, must be at least 0")
        if chunk < 0:
            raise ValueError(f"chunk: got {chunk}, must be at least 0 (0: the whole batch)")
        views = Views(crop, flip, rotate, jitter, grey, blur)
        names = ("loss", *weights)
        super().__init__(net, optimizer, scheduler, objective, names, in_shape, num_classes, bank, views)
        self.weights, self.chunk = tuple(weights.values()), chunk
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
        terms = vicreg_terms(first, second)
        loss = torch.stack([weight * term for weight, term in zip(self.weights, terms, strict=True)]).sum()
        self.train_means.add(len(images), loss, *terms)
        return loss


def vicreg_terms(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the terms invariance, variance and covariance, () each, of the embeddings of two views, (N, D) each."""
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        deviations = [(x.var(0, correction=0) + 1e-4).sqrt() for x in (first, second)]  # (D,)
        variance = torch.stack([(1 - deviation).relu().mean() for deviation in deviations]).mean()
        covariance = decorrelation(first) + decorrelation(second)
        return mse_loss(first, second), variance, covariance


def decorrelation(embeddings: Tensor) -> Tensor:
    """Return the sum of the squared covariances of different dimensions, divided by D, (): embeddings (N, D)."""
    centred = embeddings - embeddings.mean(0)
    covariance = centred.T @ centred / max(1, len(embeddings) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / embeddings.shape[1]
