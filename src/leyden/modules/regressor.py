"""Regression with any net. It is trained on standardised targets, and predicts numbers in the units of the targets."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection, R2Score

from leyden.data.datamodule import DataFacts
from leyden.data.loaders import Batch
from leyden.data.scaling import Scaling
from leyden.metrics.accumulators import ExactMetrics
from leyden.modules.losses import RegressionLoss, regression_loss
from leyden.modules.predictions import Prediction
from leyden.modules.supervised import SupervisedModule
from leyden.nets.layers import check_shape
from leyden.optim import OptimizerFactory, SchedulerFactory


class Regressor(SupervisedModule):
    """Predicts one or more numbers per sample.

    The module takes raw features and returns values in the targets' units, so a loaded run needs no preprocessing.
    `scaling` holds the statistics of the training split that are used in between. Logs ``train/loss``, and for
    ``val`` and ``test`` the loss, MSE, RMSE, MAE and R². The loss is that of standardised targets; the other
    metrics are in the targets' units.

    Args:
        net: float (B, *in_shape) → (B, num_outputs).
        optimizer, scheduler, objective: see `BaseModule`.
        in_shape: shape of one sample.
        num_outputs: number of values to predict.
        loss: mse, mae or huber, see `leyden.modules.losses`.
    """

    target_kind = "numbers"
    validation_metrics = ("loss", "mse", "rmse", "mae", "r2")

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        in_shape: Sequence[int],
        num_outputs: int,
        loss: RegressionLoss,
    ) -> None:
        check_shape(in_shape, num_outputs)
        super().__init__(net, optimizer, scheduler, objective, evaluation_metrics())
        self.scaling = Scaling(in_shape, num_outputs)
        self.loss_name = loss

    def use_facts(self, facts: DataFacts) -> None:
        copy_scaling(facts, self.scaling)

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw inputs (B, *in_shape) → predictions (B, num_outputs) in the targets' units."""
        return self.scaling.outputs(self.net(self.scaling.inputs(inputs)))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch, (), in standard deviations of the targets."""
        return regression_loss(outputs, targets, self.scaling.target_std, self.loss_name)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, targets = batch
        loss = self.loss(self(inputs), targets)
        self.train_means.add(len(targets), loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        inputs, targets = batch
        outputs = self(inputs)
        self.eval_means.add(len(targets), self.loss(outputs, targets))
        self.val_metrics.update(outputs, targets)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        inputs, targets = batch
        outputs = self(inputs)
        self.eval_means.add(len(targets), self.loss(outputs, targets))
        self.test_metrics.update(outputs, targets)

    def named_outputs(self, outputs: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        return {"numbers": outputs}  # (B, num_outputs)

    def predictions(self, named: Mapping[str, Tensor]) -> list[Prediction]:
        """Return the predicted number of each sample, or its numbers, in the targets' units."""
        return [Prediction(row[0] if len(row) == 1 else row) for row in named["numbers"].tolist()]


def copy_scaling(facts: DataFacts, scaling: Scaling) -> None:
    """Copy the statistics of a data set into the buffers of `scaling`."""
    assert facts.scaling is not None
    for name, statistic in facts.scaling.named_buffers():
        scaling.get_buffer(name).copy_(statistic)


def evaluation_metrics() -> MetricCollection:
    """Return mean squared error, its root, mean absolute error, and the fraction of the variance that is explained."""
    metrics: dict[str, Metric | MetricCollection] = {
        "mse": MeanSquaredError(),
        "rmse": MeanSquaredError(squared=False),
        "mae": MeanAbsoluteError(),
        "r2": R2Score(),
    }
    return ExactMetrics(metrics)
