"""Autoencoder (Hinton and Salakhutdinov, 2006): images through a narrow place and back; what does not fit is odd.

Trained without one class (`data.exclude_class`), it reconstructs that class worse than the others, which makes
the error of an image a score of its being an anomaly (Sakurada and Yairi, 2014).
"""

import torch
from torch import Tensor
from torchmetrics.classification import BinaryAUROC

from leyden.data.loaders import Batch
from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.modules import plots
from leyden.modules.base import ImageModule, wrong_net
from leyden.nets import codec
from leyden.optim import OptimizerFactory, SchedulerFactory


class Autoencoder(ImageModule):
    """Logs the mean squared error of a pixel as ``loss``.

    Args:
        net: such as `leyden.nets.codec.Autoencoder`.
        optimizer, scheduler, objective: as of `BaseModule`.
        anomaly: class that was held out of the training. ``test/auroc`` says how well `scores` tell it from the
            others: the share of pairs, one of it and one of the others, that they put in the right order;
            ``test/loss`` is of the others.
    """

    net: codec.Autoencoder

    def __init__(
        self,
        net: codec.Autoencoder,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        anomaly: int | None = None,
    ) -> None:
        if not isinstance(net, codec.Autoencoder):
            raise wrong_net(net, "autoencoder")
        super().__init__(net, optimizer, scheduler, objective, "loss")
        self.anomaly = anomaly
        self.eval_means = EpochMeanAccumulator("loss")
        self.auroc = BinaryAUROC()

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) → their reconstructions, 0 to 1."""
        logits: Tensor = self.net(self.pixels(images))
        return logits.sigmoid()

    def errors(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) → mean squared error of each, (B,)."""
        errors: Tensor = (self(images) - self.pixels(images)).square()
        return errors.flatten(1).mean(1)

    def scores(self, images: Tensor) -> Tensor:
        """How odd each image is, (B,), from 0: its error as a share of the variance of its pixels.

        The error alone is small wherever there is little to reconstruct: it takes any 1 for a normal digit.
        """
        return self._relative(self.errors(images), images)

    def _relative(self, errors: Tensor, images: Tensor) -> Tensor:
        return errors / self.pixels(images).flatten(1).var(1).clamp(min=1e-6)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.errors(batch[0]).mean()
        self.train_means.add(len(batch[0]), loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.eval_means.add(len(batch[0]), self.errors(batch[0]).mean())
        if batch_idx == 0:
            self.shown = batch[0][: plots.NUM_PICTURES]

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        odd = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        if self.anomaly is not None:
            odd = labels == self.anomaly
        errors = self.errors(images)
        self.eval_means.add(int((~odd).sum()), errors[~odd].sum() / (~odd).sum().clamp(min=1))
        if self.anomaly is not None:
            self.auroc.update(self._relative(errors, images), odd)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.eval_means.means(self, "val/"), prog_bar=True)

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.eval_means.means(self, "test/"))
        if self.anomaly is not None:
            self.log("test/auroc", self.auroc.compute())
            self.auroc.reset()

    def pictures(self) -> dict[str, Tensor]:
        """By name: images of the last validation over their reconstructions."""
        return {"reconstructions": plots.pairs(self.pixels(self.shown), self(self.shown))}
