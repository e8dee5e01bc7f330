"""Statistics of the training split. They standardise raw features, and convert a net's outputs to the targets' units.

They are buffers, so they are stored in every checkpoint, and a loaded model accepts raw features. A data set fits them
in `InMemoryData.fit_scaling`, on its training split only.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leyden.errors import UserError

LARGEST = torch.finfo(torch.float32).max


class Scaling(nn.Module):
    """Standardise inputs and undo the standardisation of outputs. It changes nothing until it is fitted.

    Args:
        in_shape: shape of one sample, (..., F). Each of the F features has its own statistics.
        num_outputs: number of targets. Each has its own statistics.
    """

    fill: Tensor
    low: Tensor
    high: Tensor
    mean: Tensor
    std: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, in_shape: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        identity = {"fill": 0.0, "low": -LARGEST, "high": LARGEST, "mean": 0.0, "std": 1.0}
        for name, value in identity.items():
            self.register_buffer(name, torch.full((in_shape[-1],), value))
        self.register_buffer("target_mean", torch.zeros(num_outputs))
        self.register_buffer("target_std", torch.ones(num_outputs))

    def fit_inputs(self, values: Tensor, clip: float = 0.0) -> None:
        """Compute median and quantiles of each feature. Fill and clip it. Then compute mean and standard deviation.

        Args:
            values: float32 (N, F), NaN where a value is missing.
            clip: fraction of the values at each end that count as outliers. 0: no clipping.

        Raises:
            UserError: a feature is missing in all samples.
        """
        if (empty := values.isnan().all(0)).any():
            raise UserError(f"data: feature {int(empty.int().argmax())} is missing in every training sample")
        self.fill.copy_(values.nanmedian(0).values)
        if clip:
            self.low.copy_(values.nanquantile(clip, 0))
            self.high.copy_(values.nanquantile(1 - clip, 0))
        self.mean.copy_(self._complete(values).mean(0))
        self.std.copy_(spread(self._complete(values)))

    def fit_targets(self, targets: Tensor) -> None:
        """Compute the mean and the standard deviation of each output from targets (N, num_outputs).

        Targets of shape (N, 1) give one mean and one standard deviation, which are used for all outputs.
        """
        self.target_mean.copy_(targets.mean(0))
        self.target_std.copy_(spread(targets))

    def _complete(self, inputs: Tensor) -> Tensor:
        return torch.where(inputs.isnan(), self.fill, inputs).clamp(self.low, self.high)

    def inputs(self, inputs: Tensor) -> Tensor:
        """Fill, clip and standardise raw features (B, ..., F), NaN where a value is missing. Token ids are kept."""
        if not inputs.is_floating_point():
            return inputs
        return (self._complete(inputs) - self.mean) / self.std

    def outputs(self, outputs: Tensor) -> Tensor:
        """Convert a net's outputs, (B, num_outputs), to the targets' units."""
        return outputs * self.target_std + self.target_mean


def spread(values: Tensor) -> Tensor:
    """Return the standard deviation of each column; 1 for a constant column, which is then only centred."""
    std = values.std(0, correction=0)
    return torch.where(std > 0, std, 1.0)
