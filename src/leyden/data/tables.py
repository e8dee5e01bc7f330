"""Data sets of feature tables: numbers from which other numbers are predicted."""

from dataclasses import dataclass

from torch import Tensor

from leyden.data.datamodule import InMemoryData, check
from leyden.data.loaders import Batch
from leyden.data.scaling import Scaling
from leyden.errors import UserError


@dataclass(kw_only=True, eq=False, repr=False)
class TableData(InMemoryData):
    """A table: float32 features (N, F), NaN where a value is missing, and float32 targets (N, num_targets).

    A subclass implements `read`. The batches contain raw features: the module standardises them with the statistics of
    the training split, see `Scaling`.

    Args:
        num_targets: numbers to predict for each sample.
        impute: whether missing values are filled with the median of their feature. Otherwise they are an error.
        clip: fraction of the training values at each end that count as outliers. A value beyond the remaining range is
            moved to the end of that range. 0: no clipping.
    """

    num_targets: int
    impute: bool
    clip: float

    def __post_init__(self) -> None:
        check(len(self.shape) == 1 and self.shape[0] >= 1, f"shape: got {list(self.shape)}, expected [features]")
        check(self.num_targets >= 1, f"num_targets: got {self.num_targets}, must be at least 1")
        check(0 <= self.clip < 0.5, f"clip: got {self.clip}, must be at least 0 and below 0.5")
        super().__post_init__()

    def read_checked(self, train: bool) -> Batch:
        features, targets = self.read(train)
        split = "training" if train else "test"
        if tuple(features.shape[1:]) != self.shape:
            raise UserError(f"data.shape: got {list(self.shape)}, but the {split} set has {features.shape[1]} features")
        missing = int(features.isnan().sum())
        if missing and not self.impute:
            raise UserError(f"data.impute: got false, but {missing} values of the {split} set are missing")
        return features, targets

    def fit_scaling(self, scaling: Scaling) -> None:
        assert self.train is not None
        scaling.fit_inputs(self.train[0], self.clip)
        super().fit_scaling(scaling)


def every_fifth(features: Tensor, targets: Tensor, train: bool) -> Batch:
    """Split a data set without an official split: every fifth sample, in file order, belongs to the test set."""
    chosen = [number for number in range(len(targets)) if (number % 5 != 4) == train]
    return features[chosen], targets[chosen]
