"""Autoencoder (Hinton and Salakhutdinov, 2006): images pass a bottleneck, from which they are reconstructed.

If it is trained without one class (`data.exclude_class`), it reconstructs that class worse than the others. The
error of an image is then an anomaly score (Sakurada and Yairi, 2014).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from leyden.data.datamodule import DataFacts
from leyden.data.loaders import Batch
from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.metrics.classification import BinaryAUROC
from leyden.modules import plots
from leyden.modules.base import BaseModule, wrong_net
from leyden.modules.pixels import register_pixel_statistics, to_pixels, use_pixel_statistics
from leyden.modules.predictions import Prediction
from leyden.nets import codec
from leyden.optim import OptimizerFactory, SchedulerFactory


class Autoencoder(BaseModule):
    """Trains a net to reconstruct images. Logs the mean squared error of a pixel as ``loss``.

    Args:
        net: such as `leyden.nets.codec.Autoencoder`.
        optimizer, scheduler, objective: see `BaseModule`.
        anomaly: the class that was left out of the training, or None. ``test/auroc`` is then the area under the ROC
            curve of the scores for detecting this class: the fraction of pairs of an anomalous and a normal image
            in which the anomalous one has the higher score. ``test/loss`` is that of the normal images.
    """

    validation_metrics = ("loss",)

    net: codec.Autoencoder

    def __init__(
        self,
        net: codec.Autoencoder,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        anomaly: int | None,
    ) -> None:
        if not isinstance(net, codec.Autoencoder):
            raise wrong_net(net, "autoencoder")
        super().__init__(net, optimizer, scheduler, objective)
        register_pixel_statistics(self, net.in_shape)
        self.anomaly = anomaly
        self.eval_means = EpochMeanAccumulator("loss")
        self.auroc = BinaryAUROC()

    def use_facts(self, facts: DataFacts) -> None:
        use_pixel_statistics(self, facts)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) → their reconstructions, 0 to 1."""
        logits: Tensor = self.net(to_pixels(self, images))
        return logits.sigmoid()

    def errors(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) → the mean squared error of each, (B,)."""
        return self.difference(self(images), images)

    def difference(self, reconstructions: Tensor, images: Tensor) -> Tensor:
        """Return the mean squared error of each reconstruction, 0 to 1, of normalised images; both (B, C, H, W)."""
        errors: Tensor = (reconstructions - to_pixels(self, images)).square()
        return errors.flatten(1).mean(1)

    def named_outputs(self, outputs: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """Return the anomaly scores (B,), see `relative`, and the reconstructions (B, C, H, W), 0 to 1."""
        return {"scores": self.relative(self.difference(outputs, inputs), inputs), "reconstructions": outputs}

    def predictions(self, named: Mapping[str, Tensor]) -> list[Prediction]:
        """Return the anomaly score of each image, and its reconstruction."""
        pairs = zip(named["scores"].tolist(), named["reconstructions"].float(), strict=True)
        return [Prediction(score, image=image) for score, image in pairs]

    def relative(self, errors: Tensor, images: Tensor) -> Tensor:
        """Return errors (B,) of normalised images (B, C, H, W), divided by the variance of the pixels of each.

        The error alone is small for all images with little content: every 1 would count as a normal digit.
        """
        return errors / to_pixels(self, images).flatten(1).var(1).clamp(min=1e-6)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.errors(images).mean()
        self.train_means.add(len(images), loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, _ = batch
        self.eval_means.add(len(images), self.errors(images).mean())
        if batch_idx == 0:
            self.shown = images[: plots.NUM_IMAGES]

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        anomalous = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        if self.anomaly is not None:
            anomalous = labels == self.anomaly
        errors, normal = self.errors(images), ~anomalous
        num = normal.sum()
        self.eval_means.add(num, errors.where(normal, 0).sum() / num.clamp(min=1))
        if self.anomaly is not None:
            self.auroc.update(self.relative(errors, images), anomalous)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.eval_means.means(self, "val/"), prog_bar=True)

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.eval_means.means(self, "test/"))
        if self.anomaly is not None:
            if not (auroc := self.auroc.compute()).isnan():
                self.log("test/auroc", auroc.float())
            self.auroc.reset()

    def images(self) -> dict[str, Tensor]:
        """Return images of the last validation above their reconstructions."""
        return {"reconstructions": plots.pairs(to_pixels(self, self.shown), self(self.shown))}
