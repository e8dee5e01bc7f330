"""Forecasting: predicts the next steps of a series, and compares the errors with those of a seasonal-naive forecast."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

from leyden.data.datamodule import DataFacts
from leyden.data.loaders import Batch
from leyden.data.scaling import Scaling
from leyden.metrics.accumulators import EpochMeanAccumulator, ExactMetrics
from leyden.modules.losses import RegressionLoss, regression_loss
from leyden.modules.regressor import copy_scaling
from leyden.modules.supervised import SupervisedModule
from leyden.optim import OptimizerFactory, SchedulerFactory


class Forecaster(SupervisedModule):
    """Predicts the next `num_outputs` steps of a series from a window of past steps.

    Windows (B, T, F) are in the units of the series; their first feature is predicted. The net sees each window
    relative to its last step and predicts the next steps relative to that step, as NLinear does (Zeng et al., 2023):
    a series with a trend leaves the range it was trained on, but its differences stay in their range.

    Logs ``train/loss``, and for ``val`` and ``test`` the loss, MAE and RMSE. ``mae_vs_naive`` and ``rmse_vs_naive``
    are the error divided by that of the seasonal-naive forecast for the same steps; values below 1 are better.

    Args:
        net: float (B, T, F) → (B, num_outputs).
        optimizer, scheduler, objective: see `BaseModule`.
        in_shape: (T, F) of a window.
        num_outputs: how many steps to predict.
        season: number of steps after which the series repeats itself in the naive forecast, 1 to T.
        loss: mse, mae or huber, see `leyden.modules.losses`.

    Raises:
        ValueError: the season is longer than the window.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        in_shape: Sequence[int],
        num_outputs: int,
        season: int,
        loss: RegressionLoss,
    ) -> None:
        if not 1 <= season <= in_shape[0]:
            raise ValueError(f"season: got {season}, must be between 1 and the window of {in_shape[0]}")
        metrics = ExactMetrics({"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)})
        super().__init__(net, optimizer, scheduler, objective, metrics)
        self.scaling = Scaling(in_shape, num_outputs)
        self.season, self.num_outputs, self.loss_name = season, num_outputs, loss
        self.naive_means = EpochMeanAccumulator("mae", "mse")

    def use_facts(self, facts: DataFacts) -> None:
        copy_scaling(facts, self.scaling)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (B, T, F) → the next steps (B, num_outputs), both in the units of the series."""
        last = windows[:, -1:]  # (B, 1, F)
        relative = (windows - last) / self.scaling.std  # (B, T, F)
        steps: Tensor = self.net(relative) * self.scaling.target_std + last[:, :, 0]  # (B, num_outputs)
        return steps

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch, (), in standard deviations of the series."""
        return regression_loss(outputs, targets, self.scaling.target_std, self.loss_name)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        windows, targets = batch
        loss = self.loss(self(windows), targets)
        self.train_means.add(len(targets), loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch, self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch, self.test_metrics)

    def evaluate(self, batch: Batch, metrics: MetricCollection) -> None:
        """Add the errors of the net and of the naive forecast on a batch to the metrics of its split."""
        windows, targets = batch
        errors = seasonal_naive(windows, self.season, self.num_outputs) - targets
        self.naive_means.add(len(errors), errors.abs().mean(), errors.square().mean())
        outputs = self(windows)
        self.eval_means.add(len(targets), self.loss(outputs, targets))
        metrics.update(outputs, targets)

    def compute_metrics(self, metrics: MetricCollection, prefix: str) -> dict[str, Tensor]:
        values, naive = super().compute_metrics(metrics, prefix), self.naive_means.means(self, prefix)
        values[f"{prefix}mae_vs_naive"] = values[f"{prefix}mae"].cpu() / naive[f"{prefix}mae"]
        values[f"{prefix}rmse_vs_naive"] = values[f"{prefix}rmse"].cpu() / naive[f"{prefix}mse"].sqrt()
        return values


def seasonal_naive(windows: Tensor, season: int, horizon: int) -> Tensor:
    """Predict each step as the step at the same phase of the last known season: (B, T, F) → (B, horizon)."""
    steps = windows.shape[1] - season + torch.arange(horizon, device=windows.device) % season
    return windows[:, steps, 0]
