"""BYOL (Grill et al., 2020): one view of an image predicts the embedding that a momentum net has of the other view.

There are no negative samples. The momentum net, whose weights are a moving average of the trained ones, gives the
targets; the predictor is what the trained side has in addition. Differences to the paper: the optimizer of the config
instead of LARS, and a constant momentum.
"""

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from leyden.data.datamodule import InMemoryData
from leyden.data.loaders import Batch, Flip
from leyden.data.views import Views
from leyden.modules.self_supervised import SelfSupervised
from leyden.nets.projection import projection
from leyden.optim import OptimizerFactory, SchedulerFactory
from leyden.optim.averages import update_average


class BYOL(SelfSupervised):
    """Trains a backbone to predict the embeddings of a momentum net.

    Args:
        net, optimizer, scheduler, objective, in_shape, num_classes, bank: see `SelfSupervised`.
        momentum: decay of the moving average of the weights per step, at least 0 and below 1.
        projector: sizes of the layers of the projector.
        predictor: sizes of the hidden layers of the predictor.
        projector_norm: none, batch or layer, of projector and predictor.
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
        momentum: float,
        projector: tuple[int, ...],
        predictor: tuple[int, ...],
        projector_norm: Literal["none", "batch", "layer"],
        crop: float,
        flip: Flip,
        rotate: float,
        jitter: float,
        grey: float,
        blur: float,
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum: got {momentum}, must be at least 0 and below 1")
        views = Views(crop, flip, rotate, jitter, grey, blur)
        super().__init__(net, optimizer, scheduler, objective, ("loss",), in_shape, num_classes, bank, views)
        self.momentum = momentum
        self.projector = projection("projector", self.num_features, projector, projector_norm)
        sizes = (*predictor, projector[-1])
        self.predictor = projection("predictor", projector[-1], sizes, projector_norm)
        self.target = nn.ModuleList(copy.deepcopy(part) for part in (self.net, self.projector)).requires_grad_(False)

    def prepare_fit(self, data: InMemoryData) -> None:
        """Give the momentum net the weights of the net, which may be those of another run."""
        super().prepare_fit(data)
        self.target.load_state_dict(nn.ModuleList([self.net, self.projector]).state_dict())

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        self.follow()
        first, second = self.view(images), self.view(images)
        predicted: Tensor = self.predictor(self.projector(self.net(torch.cat((first, second)))))
        loss = prediction_error(predicted, self.targets(torch.cat((second, first))))
        self.train_means.add(len(images), loss)
        return loss

    @torch.no_grad()
    def targets(self, images: Tensor) -> Tensor:
        """Return the embeddings of the momentum net, (B, D)."""
        net, projector = self.target
        embeddings: Tensor = projector(net(images))
        return embeddings

    @torch.no_grad()
    def follow(self) -> None:
        """Move the weights of the momentum net towards those that the last step gave. Before the first step: nothing.

        Its batch norms have statistics of their own, as they see batches of their own.
        """
        current = nn.ModuleList([self.net, self.projector])
        update_average([*self.target.parameters()], [*current.parameters()], self.momentum)


def prediction_error(predicted: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared distance of predictions and targets, (B, D) each, after both got length 1: 0 to 4."""
    return 2 - 2 * cosine_similarity(predicted.float(), targets.float(), dim=1).mean()
