"""Forecasting: the next steps of a series from those before, judged against repeating the last season."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

from leyden.data.loaders import Batch
from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.modules.regressor import ExactMetrics, Regressor


class Forecaster(Regressor):
    """The next `num_outputs` steps of a series, from windows (B, T, F) in the series' own units, of which the first
    feature is the one to predict.

    The net sees the window relative to its last step, and tells the next ones relative to that, as NLinear does
    (Zeng et al., 2023): a series that drifts leaves the range it was trained on, its differences less so.

    Logs ``train/loss`` over the epoch, and loss, MAE and RMSE of ``val`` and ``test``; ``mae_vs_naive`` and
    ``rmse_vs_naive`` are shares of the error of the seasonal-naive forecast of the same steps, below 1 if better.

    Args: as `Regressor`, and

    season: steps after which the naive forecast says the series repeats itself.

    Raises:
        ValueError: the season is longer than the window.
    """

    def __init__(self, in_shape: Sequence[int], num_outputs: int, season: int, **kwargs: Any) -> None:
        if not 1 <= season <= in_shape[0]:
            raise ValueError(f"season: got {season}, must be between 1 and the window of {in_shape[0]}")
        metrics = ExactMetrics({"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)})
        super().__init__(in_shape, num_outputs, metrics=metrics, **kwargs)
        self.season, self.num_outputs = season, num_outputs
        self.naive_means = EpochMeanAccumulator("mae", "mse")

    def forward(self, inputs: Tensor) -> Tensor:
        """Windows (B, T, F) → the next steps (B, num_outputs), both in the series' units."""
        last = inputs[:, -1:]  # (B, 1, F)
        relative = (inputs - last) / self.scaling.std  # (B, T, F)
        steps: Tensor = self.net(relative) * self.scaling.target_std + last[:, :, 0]  # (B, num_outputs)
        return steps

    def evaluate(self, batch: Batch, metrics: MetricCollection) -> Tensor:
        errors = seasonal_naive(batch[0], self.season, self.num_outputs) - batch[1]
        self.naive_means.add(len(errors), errors.abs().mean(), errors.square().mean())
        return super().evaluate(batch, metrics)

    def epoch_figures(self, metrics: MetricCollection, prefix: str) -> dict[str, Tensor]:
        figures, naive = super().epoch_figures(metrics, prefix), self.naive_means.means(self, prefix)
        figures[f"{prefix}mae_vs_naive"] = figures[f"{prefix}mae"].cpu() / naive[f"{prefix}mae"]
        figures[f"{prefix}rmse_vs_naive"] = figures[f"{prefix}rmse"].cpu() / naive[f"{prefix}mse"].sqrt()
        return figures


def seasonal_naive(windows: Tensor, season: int, horizon: int) -> Tensor:
    """Windows (B, T, F) → (B, horizon): each step as the one of the same phase in the last season that is known."""
    steps = windows.shape[1] - season + torch.arange(horizon, device=windows.device) % season
    return windows[:, steps, 0]
