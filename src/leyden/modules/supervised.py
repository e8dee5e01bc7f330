"""The part that modules with inputs and targets share: metrics of each evaluated split, and how they are logged."""

from torch import Tensor, nn
from torchmetrics import MetricCollection

from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.modules.base import BaseModule
from leyden.optim import OptimizerFactory, SchedulerFactory


class SupervisedModule(BaseModule):
    """Logs the loss and `metrics` of ``val`` and ``test``. A task adds the three steps.

    A step adds its batch to `train_means`, or to `eval_means` and to `val_metrics` or `test_metrics`.

    Args:
        net: float (B, ...) → (B, num_outputs).
        optimizer, scheduler, objective: see `BaseModule`.
        metrics: functions of outputs and targets; each split gets its own copy.
        train_metrics: names of the quantities that `train_means` takes.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        metrics: MetricCollection,
        train_metrics: tuple[str, ...] = ("loss",),
    ) -> None:
        super().__init__(net, optimizer, scheduler, objective, train_metrics)
        self.eval_means = EpochMeanAccumulator("loss")
        self.val_metrics, self.test_metrics = metrics.clone("val/"), metrics.clone("test/")

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (B, ...) → outputs (B, num_outputs) of the net."""
        outputs: Tensor = self.net(inputs)
        return outputs

    def on_validation_epoch_end(self) -> None:
        self.log_split(self.compute_metrics(self.val_metrics, "val/"))
        self.val_metrics.reset()

    def on_test_epoch_end(self) -> None:
        self.log_split(self.compute_metrics(self.test_metrics, "test/"))
        self.test_metrics.reset()

    def compute_metrics(self, metrics: MetricCollection, prefix: str) -> dict[str, Tensor]:
        """Return the metrics of a whole split by prefixed name."""
        return self.eval_means.means(self, prefix) | metrics.compute()

    def log_split(self, values: dict[str, Tensor]) -> None:
        """Log the metrics of a split; the progress bar shows the validation loss and the objective."""
        for name, value in values.items():
            self.log(name, value.float(), prog_bar=name in ("val/loss", self.objective["metric"]))
