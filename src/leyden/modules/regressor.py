"""Regression: numbers from any net, trained on standardised targets, told in the targets' own units."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, l1_loss, mse_loss
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection, R2Score

from leyden.data.datamodule import InMemoryData
from leyden.data.scaling import Scaling
from leyden.modules.supervised import SupervisedModule

Loss = Literal["mse", "mae", "huber"]

LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse_loss, "mae": l1_loss, "huber": huber_loss}


class Regressor(SupervisedModule):
    """One or more numbers per sample.

    Takes raw features and gives values in the targets' units, so a loaded run needs no preparation of its inputs;
    the statistics in between are the training split's, in `scaling`. Logs ``train/loss`` over the epoch, and
    loss, MSE, RMSE, MAE and R² of ``val`` and ``test``. The loss is of standardised targets, the rest in their units.

    Args: as `SupervisedModule`, and

    in_shape: of one sample.
    num_outputs: numbers to predict.
    loss: mse (squares), mae (absolute) or huber (Huber, 1964: squares up to one standard deviation of the target,
        absolute beyond).
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        loss: Loss = "mse",
        metrics: MetricCollection | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(metrics=metrics or evaluation_metrics(), **kwargs)
        self.scaling = Scaling(in_shape, num_outputs)
        self.loss_of = LOSSES[loss]

    def setup(self, stage: str) -> None:
        if stage == "fit":
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            assert isinstance(data, InMemoryData)
            data.fit_scaling(self.scaling)

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw inputs (B, *in_shape) → (B, num_outputs) in the targets' units."""
        return self.scaling.outputs(self.net(self.scaling.inputs(inputs)))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.loss_of(outputs / self.scaling.target_std, targets / self.scaling.target_std)


def evaluation_metrics() -> MetricCollection:
    """Mean squared error, its root, mean absolute error, and the share of variance explained."""
    metrics: dict[str, Metric | MetricCollection] = {
        "mse": MeanSquaredError(),
        "rmse": MeanSquaredError(squared=False),
        "mae": MeanAbsoluteError(),
        "r2": R2Score(),
    }
    return ExactMetrics(metrics)


class ExactMetrics(MetricCollection):
    """Adds up in float64: in float32 the order of a sum shows in its last digits, and that of several processes is
    another than that of one.
    """

    def update(self, *args: Any, **kwargs: Any) -> None:
        outputs, targets = args
        dtype = torch.float32 if outputs.device.type == "mps" else torch.float64  # mps has no float64
        self.set_dtype(dtype)
        super().update(outputs.to(dtype), targets.to(dtype), **kwargs)
