"""The part that self-supervised tasks share: the net as a backbone, and how good its features are.

These tasks train on images without their labels. Labels serve two purposes only: to measure the features by their
nearest neighbours and by a linear probe after each epoch, and to choose the best epoch.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from leyden.data.datamodule import DataFacts
from leyden.data.loaders import Batch
from leyden.data.views import Views
from leyden.errors import UserError
from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.metrics.frechet import FeatureSums
from leyden.metrics.representation import Bank, spread_and_rank
from leyden.modules import plots
from leyden.modules.base import BaseModule
from leyden.modules.pixels import register_pixel_statistics, to_pixels, use_pixel_statistics
from leyden.modules.predictions import Prediction
from leyden.modules.titles import titled
from leyden.nets.backbone import remove_head
from leyden.optim import OptimizerFactory, SchedulerFactory

METRICS = ("knn_acc", "probe_acc", "spread", "rank")
NEIGHBOURS = (
    "First column: validation images",
    "Right of each: its nearest validation images, by the cosine similarity of their features",
)


class SelfSupervised(BaseModule):
    """A module that learns features of images without labels. A task adds `training_step`.

    Logs for ``val`` and ``test``: ``knn_acc`` and ``probe_acc``, the accuracy of the nearest neighbours and of a linear
    probe, both with labelled samples of the training split; ``spread`` and ``rank``, indicators of collapse. See
    `leyden.metrics.representation`.

    Args:
        net: a classifier of images, (B, C, H, W) → (B, ...). Its last layer is removed, see `leyden.nets.backbone`.
        optimizer, scheduler, objective, train_metrics: see `BaseModule`.
        in_shape: (C, H, W) of an image.
        num_classes: number of classes of the data set.
        bank: labelled training samples with which validation samples are compared; the test uses all there are.
        views: draws random views of images.

    Raises:
        UserError: the net is no backbone.
        ValueError: the inputs are no images, or a number does not fit them.
    """

    validation_metrics = METRICS
    target_kind = "class"
    trains_unlabelled = True

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        train_metrics: tuple[str, ...],
        in_shape: tuple[int, ...],
        num_classes: int,
        bank: int,
        views: Views,
    ) -> None:
        if len(in_shape) != 3:
            name = type(self).__name__.lower()
            raise UserError(
                f"task: got {name}, whose views need images, but a sample of this data set is {list(in_shape)}"
            )
        if in_shape[0] not in (1, 3) and (views.jitter or views.grey):
            raise ValueError(f"jitter: jitter and grey need 1 or 3 channels, not {in_shape[0]}; set both to 0")
        if bank < num_classes:
            raise ValueError(f"bank: got {bank}, must be at least {num_classes}, the number of classes")
        super().__init__(net, optimizer, scheduler, objective, train_metrics)
        self.num_features = features_of(net, in_shape)
        register_pixel_statistics(self, tuple(in_shape))
        self.num_classes, self.bank_size, self.views = num_classes, bank, views
        self.labelled: Callable[[int | None], Iterable[Batch]] | None = None
        self.bank: Bank | None = None
        self.probe_means = EpochMeanAccumulator("probe_acc")
        self.sums = FeatureSums(self.num_features)
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []  # pixels, features and labels for the plots

    def use_facts(self, facts: DataFacts) -> None:
        use_pixel_statistics(self, facts)
        self.labelled = facts.labelled

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) → features (B, F)."""
        features: Tensor = self.net(images)
        return features

    @torch.no_grad()
    def view(self, images: Tensor) -> Tensor:
        """Return a random view of each normalised image, normalised too: (B, C, H, W)."""
        mean, std = self.get_buffer("pixel_mean"), self.get_buffer("pixel_std")
        with torch.autocast(images.device.type, enabled=False):
            views = self.views(to_pixels(self, images).float() * 255) / 255
            normalised: Tensor = (views - mean) / std
        return normalised.to(images.dtype)

    def named_outputs(self, outputs: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """Return the features, (B, F)."""
        return {"features": outputs}

    def predictions(self, named: Mapping[str, Tensor]) -> list[Prediction]:
        """Return the features of each image, a list of numbers."""
        return [Prediction(row.tolist()) for row in named["features"]]

    def labels_of(self, targets: Tensor) -> list[str] | None:
        names = self.class_names
        return [names[label] if names else str(label) for label in targets.tolist()]

    def use_classes(self, classes: Any) -> None:
        self.class_names = tuple(classes or ())

    def on_validation_epoch_start(self) -> None:
        self.fill_bank(self.bank_size)

    def on_test_epoch_start(self) -> None:
        self.fill_bank(None)

    @torch.no_grad()
    def fill_bank(self, num: int | None) -> None:
        """Compute the features of `num` labelled training samples, None: of all, and fit the probe."""
        assert self.labelled is not None
        found, labels = [], []
        dtype = next(self.net.parameters()).dtype
        for images, targets in self.labelled(num):
            found.append(self.net(images.to(self.device, dtype)).float())
            labels.append(targets.to(self.device))
        self.bank = Bank(torch.cat(found), torch.cat(labels), self.num_classes)
        self.seen = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        features = self.evaluate(batch)
        if sum(len(labels) for _, _, labels in self.seen) < plots.MAP_IMAGES:
            self.seen.append((to_pixels(self, batch[0]), features, batch[1]))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch)

    def evaluate(self, batch: Batch) -> Tensor:
        """Add a batch to the metrics of its split, and return its features, float32 (B, F)."""
        assert self.bank is not None
        images, labels = batch
        features: Tensor = self(images).float()
        with torch.autocast(features.device.type, enabled=False):  # metrics must not depend on trainer.precision
            self.sums.add(normalize(features, dim=1), self.bank.neighbours(features) == labels)
            self.probe_means.add(len(labels), (self.bank.probe(features) == labels).float().mean())
        return features

    def on_validation_epoch_end(self) -> None:
        self.log_split("val/")

    def on_test_epoch_end(self) -> None:
        self.log_split("test/")

    def log_split(self, prefix: str) -> None:
        """Log the metrics of a whole split."""
        mean, covariance, knn = self.sums.moments(self)
        self.sums = FeatureSums(self.num_features)
        spread, rank = spread_and_rank(mean, covariance)
        values = {"knn_acc": knn, **self.probe_means.means(self, ""), "spread": spread, "rank": rank}
        for name, value in values.items():
            self.log(f"{prefix}{name}", value.float(), prog_bar=f"{prefix}{name}" == self.objective["metric"])

    def report(self) -> dict[str, Any]:
        assert self.bank is not None
        return {
            "probe": f"test/probe_acc is that of a logistic regression on frozen features, fitted after the training "
            f"on {len(self.bank.labels):,} labelled samples of the training split"
        }

    def images(self) -> dict[str, Tensor]:
        """Return plots of the last validation: nearest neighbours, a map of the features, and two views of images."""
        pixels, features, labels = (torch.cat(parts).cpu() for parts in zip(*self.seen, strict=True))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            views = [self.views(pixels[: plots.NUM_IMAGES].float() * 255) / 255 for _ in range(2)]
        return {
            "views": plots.pairs(*views),
            "neighbours": titled(plots.neighbours(pixels, features), NEIGHBOURS),
            "embedding": titled(
                plots.latent_map(features, labels, pixels),
                [
                    f"Features of {len(labels):,} validation images: their first two principal components (PCA)",
                    "Right: the colour of each class",
                ],
            ),
        }


def features_of(net: nn.Module, in_shape: tuple[int, ...]) -> int:
    """Remove the last layer of `net`, in place, and return the number of its features.

    Raises:
        UserError: it is no backbone.
    """
    try:
        return remove_head(net, in_shape)
    except ValueError as error:
        name = type(net).__name__
        raise UserError(f"model: a {name} {error}; use model=cnn, resnet, wrn, mlp or transformer") from error
