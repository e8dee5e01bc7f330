"""Data sets of feature tables: numbers with numbers to predict."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from leyden.data.datamodule import InMemoryData, check
from leyden.data.loaders import Batch
from leyden.data.scaling import Scaling
from leyden.errors import UserError


class TableData(InMemoryData):
    """float32 features (N, F), NaN where one is missing, with float32 targets (N, num_targets). A data set adds `read`.

    Features are served raw: the module standardises them by statistics of the training split, see `Scaling`.

    Args: as `InMemoryData`, and

    num_targets: numbers to predict for each sample.
    impute: fill missing values with the feature's median; otherwise they are an error.
    clip: share of the training values at either end beyond which a value counts as an outlier and is moved to
        there, 0 for no clipping.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, shape: Sequence[int], num_targets: int = 1, impute: bool = True, clip: float = 0.0, **kwargs: Any
    ) -> None:
        check(len(shape) == 1 and shape[0] >= 1, f"shape: got {list(shape)}, expected [features]")
        check(num_targets >= 1, f"num_targets: got {num_targets}, must be at least 1")
        check(0 <= clip < 0.5, f"clip: got {clip}, must be at least 0 and below 0.5")
        super().__init__(shape, **kwargs)
        self.num_targets, self.impute, self.clip = num_targets, impute, clip

    def read_checked(self, train: bool) -> Batch:
        features, targets = self.read(train)
        part = "training" if train else "test"
        if tuple(features.shape[1:]) != self.shape:
            raise UserError(f"data.shape: got {list(self.shape)}, but the {part} set has {features.shape[1]} features")
        missing = int(features.isnan().sum())
        if missing and not self.impute:
            raise UserError(f"data.impute: got false, but {missing} values of the {part} set are missing")
        return features, targets

    def fit_scaling(self, scaling: Scaling) -> None:
        assert self.train is not None
        scaling.fit_inputs(self.train[0], self.clip)
        super().fit_scaling(scaling)


def every_fifth(features: Tensor, targets: Tensor, train: bool) -> Batch:
    """The training or test set of one that has no official split: every fifth sample, in file order, is test."""
    chosen = [number for number in range(len(targets)) if (number % 5 != 4) == train]
    return features[chosen], targets[chosen]
