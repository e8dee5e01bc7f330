"""The LightningDataModule of every data set that fits into memory: split, folds, loaders.

A data set adds `read`, and where it differs from (inputs, targets) as they are: `strata`, `transform`, `augmentation`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from leyden.data import splits
from leyden.data.loaders import Augment, Batch, EvalLoader, TrainLoader
from leyden.data.scaling import Scaling
from leyden.errors import UserError


@dataclass(frozen=True)
class DataFacts:
    """What a module needs to know about its data.

    Args:
        mean, std: of each channel over the training set, on a scale from 0 to 1; images only.
        scaling: fitted on the training split; data with numbers as targets only.
        classes_in: targets → which classes a sample shows, int64 (B, num_classes), 0 or 1; images only.
        classes: the names of the classes, if they are known.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scaling: Scaling | None = None
    classes_in: Callable[[Tensor], Tensor] | None = None
    classes: tuple[str, ...] | None = None


class InMemoryData(LightningDataModule, ABC):
    """Inputs (N, ...) with targets (N, ...), served as whole batches, made on the device that trains.

    Args:
        shape: of one sample, as the net sees it: [F] features, [T, F] a series, [C, H, W] an image.
        seed: of split, order and augmentation.
        batch_size: samples per training step and process.
        eval_batch_size: samples per validation or test step, at the most.
        val_fraction: of the training set, kept for validation; ignored with folds.
        num_folds, fold: k-fold cross-validation: which of `num_folds` parts validates. 0 for no folds.
        limit: fraction of the training set to use, before validation is cut from it.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        shape: Sequence[int],
        seed: int = 0,
        batch_size: int = 64,
        eval_batch_size: int = 500,
        val_fraction: float = 0.1,
        num_folds: int = 0,
        fold: int = 0,
        limit: float = 1.0,
    ) -> None:
        super().__init__()
        check(batch_size >= 1, f"batch_size: got {batch_size}, must be at least 1")
        check(eval_batch_size >= 1, f"eval_batch_size: got {eval_batch_size}, must be at least 1")
        check(0 < val_fraction < 1, f"val_fraction: got {val_fraction}, must be between 0 and 1")
        check(num_folds == 0 or num_folds >= 2, f"num_folds: got {num_folds}, must be 0 or at least 2")
        check(0 <= fold < max(num_folds, 1), f"fold: got {fold}, must be between 0 and {max(num_folds, 1) - 1}")
        check(0 < limit <= 1, f"limit: got {limit}, must be above 0 and at most 1")
        self.shape, self.seed = tuple(shape), seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.val_fraction, self.num_folds, self.fold, self.limit = val_fraction, num_folds, fold, limit
        self.verified = True  # until a file turns out not to be the published one
        self.train: Batch | None = None
        self.val: Batch | None = None
        self.test: Batch | None = None

    def files(self) -> Sequence[Path]:
        """The files that `read` will want."""
        return ()

    @abstractmethod
    def read(self, train: bool) -> Batch:
        """The training set, from which validation will be cut, or the test set: inputs (N, ...), targets (N, ...).

        Raises:
            UserError: a file is missing or damaged, or does not fit the config.
        """

    def read_val(self) -> Batch | None:
        """The validation set of a data set that has one of its own; without, it is cut from the training set."""
        return None

    def measured(self) -> dict[str, Any]:
        """Arguments that were left open and that `setup` found in the training set, to be kept in the run's config."""
        return {}

    def strata(self, targets: Tensor) -> Tensor:
        """int64 (N,): samples of one number are divided in the same proportion; here all are of one."""
        return torch.zeros(len(targets), dtype=torch.int64)

    def transform(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """What is done to the inputs of each batch, training or not, before the net sees them; here nothing."""
        return torch.nn.Identity()

    def augmentation(self, inputs: Tensor, targets: Tensor) -> Augment | None:
        """How a batch of the training set is drawn, if not as it is."""
        return None

    def fit_scaling(self, scaling: Scaling) -> None:
        """Fit the statistics of a module that predicts numbers, on the training split; here of the targets only."""
        assert self.train is not None
        scaling.fit_targets(self.train[1])

    def facts(self) -> DataFacts:
        """Return what a module needs to know about this data set; valid after ``setup("fit")``."""
        assert self.train is not None
        inputs, targets = self.train
        if not targets.is_floating_point():
            return DataFacts()
        scaling = Scaling(inputs.shape[1:], targets.shape[1])
        self.fit_scaling(scaling)
        return DataFacts(scaling=scaling)

    def setup(self, stage: str) -> None:
        """Read what `stage` (fit, validate, test) needs, once. The test set stays unread until it is tested."""
        if stage == "test":
            self.test = self.test or self.read_checked(train=False)
        elif self.train is None:
            self.train, self.val = self.split(*self.read_checked(train=True))
            if len(self.train[1]) == 0:
                raise UserError(f"data.limit: {self.limit} leaves nothing to train on")

    def read_checked(self, train: bool) -> Batch:
        """What `read` gives, after a check of it against the arguments, where there is one."""
        return self.read(train)

    def split(self, inputs: Tensor, targets: Tensor) -> tuple[Batch, Batch]:
        """Training and validation set, of the `limit` of what was read."""
        strata = self.strata(targets)
        if self.limit < 1:
            kept = splits.fraction(strata, self.limit, self.seed)
            inputs, targets, strata = inputs[kept], targets[kept], strata[kept]
        if val := self.read_val():
            return (inputs, targets), val
        if self.num_folds:
            held_out = splits.fold(strata, self.num_folds, self.fold, self.seed)
        else:
            held_out = splits.fraction(strata, self.val_fraction, self.seed)
        return (inputs[~held_out], targets[~held_out]), (inputs[held_out], targets[held_out])

    def train_dataloader(self) -> TrainLoader:
        assert self.train is not None
        inputs, targets = self._on_device(self.train)
        return TrainLoader(
            inputs,
            targets,
            self.batch_size,
            self.transform(inputs.device),
            augment=self.augmentation(inputs, targets),
            seed=self.seed,
            rank=self._rank,
            world=self._world,
            position=self._position,
        )

    def val_dataloader(self) -> EvalLoader:
        assert self.val is not None
        return self._eval_batches(self.val)

    def test_dataloader(self) -> EvalLoader:
        assert self.test is not None
        return self._eval_batches(self.test)

    def _eval_batches(self, split: Batch) -> EvalLoader:
        inputs, targets = self._on_device(split)
        transform = self.transform(inputs.device)
        return EvalLoader(inputs, targets, self.eval_batch_size, transform, self._rank, self._world)

    def _on_device(self, split: Batch) -> Batch:
        """The split on the training device: uint8 is small (CIFAR-10: 154 MB), copying batches is slow."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        return split[0].to(device), split[1].to(device)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Nothing to do: batches are made on the training device."""
        return batch

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def _position(self) -> tuple[int, int]:
        """(epoch, batches already done in it) of the trainer, which a checkpoint restores."""
        if not self.trainer:
            return 0, 0
        return self.trainer.current_epoch, self.trainer.fit_loop.epoch_loop.batch_progress.current.ready

    def sizes(self) -> dict[str, int]:
        """Number of samples in each split that has been read."""
        splits_read = {"train": self.train, "val": self.val, "test": self.test}
        return {name: len(split[1]) for name, split in splits_read.items() if split is not None}


def check(holds: bool, sentence: str) -> None:
    """Raises ValueError with `sentence`, which starts with an argument's name, unless `holds`."""
    if not holds:
        raise ValueError(sentence)
