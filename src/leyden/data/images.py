"""The one LightningDataModule for images: split, folds, loaders. A data set adds its facts and `read`."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from filelock import FileLock
from lightning.pytorch import LightningDataModule
from torch import Tensor

from leyden.data import splits
from leyden.data.batches import Batch, EvalBatches, Normalise, TrainBatches
from leyden.errors import UserError


class ImageData(LightningDataModule, ABC):
    """uint8 images with a class each, held in memory, served as whole normalised batches.

    Args:
        root: folder that holds the files of all data sets.
        shape: (C, H, W) of an image.
        num_classes: labels run from 0 to num_classes - 1.
        mean, std: of each channel over the training set, in units of the full range (0 to 1).
        seed: of split, order and augmentation.
        batch_size: samples per training step and process.
        eval_batch_size: samples per validation or test step, at the most.
        shift: augmentation, random translation in pixels.
        flip: augmentation, random left-right mirror.
        val_fraction: of the training set, kept for validation; ignored with folds.
        num_folds, fold: k-fold cross-validation: which of `num_folds` parts validates. 0 for no folds.
        limit: fraction of the training set to use, before validation is cut from it.
        verify: whether a file with another checksum than the published one is an error or a warning.
        download: whether missing files may be fetched.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        root: str,
        shape: Sequence[int],
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int = 0,
        batch_size: int = 64,
        eval_batch_size: int = 500,
        shift: int = 0,
        flip: bool = False,
        val_fraction: float = 0.1,
        num_folds: int = 0,
        fold: int = 0,
        limit: float = 1.0,
        verify: bool = True,
        download: bool = True,
    ) -> None:
        super().__init__()
        _check(len(shape) == 3 and min(shape) >= 1, f"shape: got {list(shape)}, expected [channels, height, width]")
        _check(num_classes >= 2, f"num_classes: got {num_classes}, must be at least 2")
        _check(
            len(mean) == shape[0] == len(std), f"mean: there must be one mean and std for each of {shape[0]} channels"
        )
        _check(min(std) > 0, f"std: got {list(std)}, must be positive")
        _check(batch_size >= 1, f"batch_size: got {batch_size}, must be at least 1")
        _check(eval_batch_size >= 1, f"eval_batch_size: got {eval_batch_size}, must be at least 1")
        _check(0 <= shift < min(shape[1:]), f"shift: got {shift}, must be between 0 and {min(shape[1:]) - 1} pixels")
        _check(0 < val_fraction < 1, f"val_fraction: got {val_fraction}, must be between 0 and 1")
        _check(num_folds == 0 or num_folds >= 2, f"num_folds: got {num_folds}, must be 0 or at least 2")
        _check(0 <= fold < max(num_folds, 1), f"fold: got {fold}, must be between 0 and {max(num_folds, 1) - 1}")
        _check(0 < limit <= 1, f"limit: got {limit}, must be above 0 and at most 1")
        self.root, self.shape, self.num_classes = Path(root), tuple(shape), num_classes
        self.mean, self.std, self.seed = mean, std, seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.shift, self.flip = shift, flip
        self.val_fraction, self.num_folds, self.fold, self.limit = val_fraction, num_folds, fold, limit
        self.verify, self.download = verify, download
        self.verified = True
        self.train: Batch | None = None
        self.val: Batch | None = None
        self.test: Batch | None = None

    def files(self) -> Sequence[Path]:
        """The files that `read` will want."""
        return ()

    def fetch(self) -> None:
        """Get the `files` that are not there.

        Raises:
            UserError: a file is missing and cannot be had.
        """

    def prepare_data(self) -> None:
        """Make sure that all files are there; of several runs at once, one fetches and the others wait."""
        if all(path.exists() for path in self.files()):
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / ".lock"):
                self.fetch()
        except OSError as error:
            raise UserError(f"data.root: cannot write to {self.root} ({error.strerror})") from error

    @abstractmethod
    def read(self, train: bool) -> Batch:
        """The official training or test set: uint8 (N, C, H, W), int64 (N,).

        Raises:
            UserError: a file is missing or damaged.
        """

    def unverified(self, problem: str) -> None:
        """Note a file that is not the published one.

        Raises:
            UserError: with `problem`, unless `verify` is false.
        """
        if self.verify:
            raise UserError(f"{problem}; data.verify=false takes it as it is")
        self.verified = False
        warnings.warn(f"{problem}; taken as it is, since data.verify=false", stacklevel=2)

    def setup(self, stage: str) -> None:
        """Read what `stage` (fit, validate, test) needs, once. The test set stays unread until it is tested."""
        if stage == "test":
            self.test = self.test or self._read(train=False)
        elif self.train is None:
            images, labels = self._read(train=True)
            if self.limit < 1:
                kept = splits.fraction(labels, self.limit, self.seed)
                images, labels = images[kept], labels[kept]
            if self.num_folds:
                held_out = splits.fold(labels, self.num_folds, self.fold, self.seed)
            else:
                held_out = splits.fraction(labels, self.val_fraction, self.seed)
            self.train = images[~held_out], labels[~held_out]
            self.val = images[held_out], labels[held_out]
            if len(self.train[1]) == 0:
                raise UserError(f"data.limit: {self.limit} leaves no training images")

    def _read(self, train: bool) -> Batch:
        images, labels = self.read(train)
        part = "training" if train else "test"
        if tuple(images.shape[1:]) != self.shape:
            raise UserError(f"data.shape: got {list(self.shape)}, but the {part} images are {list(images.shape[1:])}")
        if int(labels.max()) >= self.num_classes:
            raise UserError(f"data.num_classes: got {self.num_classes}, but a {part} label is {int(labels.max())}")
        return images, labels

    def train_dataloader(self) -> TrainBatches:
        assert self.train is not None
        images, labels = self._on_device(self.train)
        return TrainBatches(
            images,
            labels,
            self.batch_size,
            Normalise(self.mean, self.std, images.device),
            shift=self.shift,
            flip=self.flip,
            seed=self.seed,
            rank=self._rank,
            world=self._world,
            position=self._position,
        )

    def val_dataloader(self) -> EvalBatches:
        assert self.val is not None
        return self._eval_batches(self.val)

    def test_dataloader(self) -> EvalBatches:
        assert self.test is not None
        return self._eval_batches(self.test)

    def _eval_batches(self, split: Batch) -> EvalBatches:
        images, labels = self._on_device(split)
        normalise = Normalise(self.mean, self.std, images.device)
        return EvalBatches(images, labels, self.eval_batch_size, normalise, self._rank, self._world)

    def _on_device(self, split: Batch) -> Batch:
        """The split's pixels on the training device: uint8 is small (CIFAR-10: 154 MB), copying batches is slow."""
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
        """Number of images in each split that has been read."""
        splits_read = {"train": self.train, "val": self.val, "test": self.test}
        return {name: len(split[1]) for name, split in splits_read.items() if split is not None}

    def denormalise(self, batch: Tensor) -> Tensor:
        """Inverse of the loaders' normalisation: float (B, C, H, W) → 0 to 1."""
        mean, std = (torch.tensor(v, device=batch.device).view(-1, 1, 1) for v in (self.mean, self.std))
        return (batch * std + mean).clamp(0, 1)


def _check(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)
