"""Forecasting: predicts the next steps of a series, and compares the errors with those of naive forecasts."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

from leyden.data.datamodule import DataFacts, InMemoryData
from leyden.data.loaders import Batch
from leyden.data.scaling import Scaling
from leyden.metrics.accumulators import EpochMeanAccumulator, ExactMetrics
from leyden.modules.losses import RegressionLoss, regression_loss
from leyden.modules.predictions import Prediction
from leyden.modules.regressor import copy_scaling
from leyden.modules.supervised import SupervisedModule
from leyden.nets.layers import check_shape
from leyden.optim import OptimizerFactory, SchedulerFactory

SEASON_WINDOWS = 1000  # windows on which the season is estimated


class Forecaster(SupervisedModule):
    """Predicts the next `num_outputs` steps of a series from a window of past steps.

    Windows (B, T, F) are in the units of the series; their first feature is predicted. The net sees each window
    relative to its last step and predicts the next steps relative to that step, as NLinear does (Zeng et al., 2023):
    a series with a trend leaves the range it was trained on, but its differences stay in their range.

    Logs ``train/loss``, and for ``val`` and ``test`` the loss, MAE and RMSE. ``mae_vs_naive`` and ``rmse_vs_naive``
    are the error divided by that of a reference forecast for the same steps; values below 1 are better. The reference
    is the naive forecast (the last value) or the seasonal-naive forecast (the value one season before), whichever has
    the smaller error on the split. The report says which one it was on the test set.

    Args:
        net: float (B, T, F) → (B, num_outputs).
        optimizer, scheduler, objective: see `BaseModule`.
        in_shape: (T, F) of a window.
        num_outputs: number of steps to predict.
        season: number of steps after which the series repeats itself, 1 to T; None to estimate it on the training
            split, see `estimate_season`.
        loss: mse, mae or huber, see `leyden.modules.losses`.

    Raises:
        ValueError: the season is longer than the window.
    """

    target_kind = "numbers"
    validation_metrics = ("loss", "mae", "rmse", "mae_vs_naive", "rmse_vs_naive")

    estimated_season: Tensor

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        in_shape: Sequence[int],
        num_outputs: int,
        season: int | None,
        loss: RegressionLoss,
    ) -> None:
        check_shape(in_shape, num_outputs)
        if season is not None and not 1 <= season <= in_shape[0]:
            raise ValueError(f"season: got {season}, must be between 1 and the window of {in_shape[0]}, or null")
        metrics = ExactMetrics({"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)})
        super().__init__(net, optimizer, scheduler, objective, metrics)
        self.scaling = Scaling(in_shape, num_outputs)
        self.season, self.num_outputs, self.loss_name = season, num_outputs, loss
        if season is None:
            self.register_buffer("estimated_season", torch.tensor(1))
        self.naive_means = EpochMeanAccumulator("mae", "mse")
        self.seasonal_means = EpochMeanAccumulator("mae", "mse")

    def use_facts(self, facts: DataFacts) -> None:
        copy_scaling(facts, self.scaling)

    def prepare_fit(self, data: InMemoryData) -> None:
        if self.season is None:
            assert data.train is not None
            self.estimated_season.fill_(estimate_season(*data.train))

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

    def on_validation_epoch_start(self) -> None:
        self.reference_season = self._season()

    def on_test_epoch_start(self) -> None:
        self.reference_season = self._season()

    def _season(self) -> int:
        return int(self.estimated_season) if self.season is None else self.season

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch, self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch, self.test_metrics)

    def evaluate(self, batch: Batch, metrics: MetricCollection) -> None:
        """Add the errors of the net and of the naive forecasts on a batch to the metrics of its split."""
        windows, targets = batch
        for season, means in ((1, self.naive_means), (self.reference_season, self.seasonal_means)):
            errors = seasonal_naive(windows, season, self.num_outputs) - targets
            means.add(len(errors), errors.abs().mean(), errors.square().mean())
        outputs = self(windows)
        self.eval_means.add(len(targets), self.loss(outputs, targets))
        metrics.update(outputs, targets)

    def compute_metrics(self, metrics: MetricCollection, prefix: str) -> dict[str, Tensor]:
        values = super().compute_metrics(metrics, prefix)
        naive, seasonal = self.naive_means.means(self, ""), self.seasonal_means.means(self, "")
        self.naive_is_better = bool(naive["mae"] <= seasonal["mae"])
        mae = torch.minimum(naive["mae"], seasonal["mae"])
        rmse = torch.minimum(naive["mse"], seasonal["mse"]).sqrt()
        if mae > 0:  # otherwise the series is perfectly periodic, and the ratio is not defined
            values[f"{prefix}mae_vs_naive"] = values[f"{prefix}mae"].cpu() / mae
            values[f"{prefix}rmse_vs_naive"] = values[f"{prefix}rmse"].cpu() / rmse
        return values

    def named_outputs(self, outputs: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        return {"steps": outputs}  # (B, num_outputs)

    def predictions(self, named: Mapping[str, Tensor]) -> list[Prediction]:
        """Return the next steps of each window, in the units of the series."""
        return [Prediction(steps) for steps in named["steps"].tolist()]

    def report(self) -> dict[str, Any]:
        season = 1 if self.naive_is_better else self.reference_season
        forecast = "naive" if season == 1 else "seasonal-naive"
        return {"reference": {"forecast": forecast, "season": season, "estimated": self.season is None}}


def estimate_season(windows: Tensor, targets: Tensor) -> int:
    """Return the season for which the seasonal-naive forecast has the smallest mean absolute error.

    This is the season that makes the reference as good as possible. Autocorrelation finds the same one in a purely
    seasonal series, but it is high at all short lags if a series changes slowly. Multiples of a season have about the
    same error, so the smallest divisor whose error is at most 5% larger is returned instead.

    Args:
        windows: (N, T, F) of the training split.
        targets: (N, horizon), the steps that follow.

    Returns:
        1 to T; 1 means that the naive forecast is best.
    """
    chosen = torch.linspace(0, len(windows) - 1, min(len(windows), SEASON_WINDOWS)).long()
    windows, targets = windows[chosen], targets[chosen]
    seasons = range(1, windows.shape[1] + 1)
    errors = {s: float((seasonal_naive(windows, s, targets.shape[1]) - targets).abs().mean()) for s in seasons}
    best = min(seasons, key=lambda s: errors[s])
    return next(s for s in seasons if best % s == 0 and errors[s] <= 1.05 * errors[best])


def seasonal_naive(windows: Tensor, season: int, horizon: int) -> Tensor:
    """Predict each step as the step at the same phase of the last known season: (B, T, F) → (B, horizon)."""
    steps = windows.shape[1] - season + torch.arange(horizon, device=windows.device) % season
    return windows[:, steps, 0]
