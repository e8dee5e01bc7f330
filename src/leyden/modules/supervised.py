"""What modules share that learn from inputs with targets: the steps, figures of each epoch, the optimizer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torchmetrics import MetricCollection

from leyden.data.loaders import Batch
from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.modules.base import BaseModule
from leyden.optim import OptimizerFactory, SchedulerFactory


class SupervisedModule(BaseModule, ABC):
    """Logs ``train/loss`` over the epoch, and the loss and `metrics` of ``val`` and ``test``. A subclass adds `loss`.

    Args:
        net: float (B, ...) → (B, num_outputs).
        optimizer, scheduler, objective: as of `BaseModule`.
        metrics: of outputs and targets; anew for each split.
        train_figures: names of what `figures` gives.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        metrics: MetricCollection,
        train_figures: Sequence[str] = (),
    ) -> None:
        super().__init__(net, optimizer, scheduler, objective, "loss", *train_figures)
        self.eval_means = EpochMeanAccumulator("loss")
        self.val_metrics, self.test_metrics = metrics.clone("val/"), metrics.clone("test/")

    def forward(self, inputs: Tensor) -> Tensor:
        """What the net makes of a batch's inputs."""
        outputs: Tensor = self.net(inputs)
        return outputs

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over the batch, ()."""

    def figures(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Means over the batch, () each, of what is cheap enough to be known of every training step."""
        return ()

    def step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss, (), and outputs."""
        inputs, targets = batch
        outputs = self(inputs)
        return self.loss(outputs, targets), outputs

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, outputs = self.step(batch)
        self.train_means.add(len(batch[1]), loss, *self.figures(outputs, batch[1]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch, self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch, self.test_metrics)

    def evaluate(self, batch: Batch, metrics: MetricCollection) -> Tensor:
        """Take a batch into loss and `metrics`; gives the outputs."""
        loss, outputs = self.step(batch)
        metrics.update(outputs, batch[1])
        self.eval_means.add(len(batch[1]), loss)
        return outputs

    def on_validation_epoch_end(self) -> None:
        self._log(self.val_metrics, "val/")

    def on_test_epoch_end(self) -> None:
        self._log(self.test_metrics, "test/")

    def epoch_figures(self, metrics: MetricCollection, prefix: str) -> dict[str, Tensor]:
        """Prefixed name → figure, at the end of a split."""
        return self.eval_means.means(self, prefix) | metrics.compute()

    def _log(self, metrics: MetricCollection, prefix: str) -> None:
        for name, value in self.epoch_figures(metrics, prefix).items():
            self.log(name, value.float(), prog_bar=name in ("val/loss", self.objective["metric"]))
        metrics.reset()
