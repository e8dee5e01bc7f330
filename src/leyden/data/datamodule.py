"""The base class of all data sets: it splits a data set that fits into memory and serves it in batches.

A subclass implements `read`. It may override `strata`, `transform`, `augmentation` and `facts`.
"""

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from leyden.data import splits
from leyden.data.clients import FederatedLoader, split_clients
from leyden.data.large import take
from leyden.data.loaders import Augment, Batch, EvalLoader, TrainLoader, start_of_training
from leyden.data.poisson import PoissonLoader
from leyden.data.scaling import Scaling
from leyden.data.tokens import Tokenizer
from leyden.errors import UserError
from leyden.optim.federated import FedAvg

TargetKind = Literal["class", "labels", "symbols", "numbers", "next"]

MANY = 12  # classes; of more, not every name is printed


@dataclass(frozen=True, eq=False)
class DataFacts:
    """What a module needs to know about its data. A value that does not apply is None.

    Args:
        mean: mean of each channel over the training set, 0 to 1. Images only.
        std: standard deviation of each channel, on the same scale. Images only.
        scaling: statistics fitted on the training split. Tables and series only.
        classes_in: targets → which classes each sample shows, int64 (B, num_classes), 0 or 1. Images only.
        classes: the names of the classes.
        class_counts: number of training samples of each class. Images with one class each only.
        tokenizer: converts the targets back to texts. Translations only.
        num_tokens: number of token ids that a text can have. Language modelling only.
        characters_per_token: split → characters of its original text per token; called after the split was read.
            Language modelling only.
        labelled: number of samples, None for all → batches of labelled training samples, as the net receives them and
            without augmentation. Images with one class each only.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scaling: Scaling | None = None
    classes_in: Callable[[Tensor], Tensor] | None = None
    classes: tuple[str, ...] | None = None
    class_counts: tuple[int, ...] | None = None
    num_tokens: int | None = None
    characters_per_token: Callable[[str], float] | None = None
    tokenizer: Tokenizer | None = None
    labelled: Callable[[int | None], Iterable[Batch]] | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class InMemoryData(LightningDataModule, ABC):
    """A data set in memory: inputs (N, ...) and targets (N, ...), served in batches on the training device.

    A value outside of its range raises a ValueError whose message starts with the argument's name.

    Args:
        shape: shape of one sample, as the net receives it: [F] features, [T, F] a series, [C, H, W] an image.
        seed: seed of the split, the order of the samples and the augmentation.
        batch_size: samples per training step and process.
        eval_batch_size: largest number of samples per validation or test step.
        val_fraction: fraction of the training set that is used for validation. Ignored with folds.
        train_on_all: train on the validation samples too, for the final training after all choices are made. Then the
            validation shows whether the training works, but chooses nothing: the last epoch is tested.
        num_folds: number of folds of a k-fold cross-validation. 0: no folds.
        fold: number of the fold that is used for validation, from 0.
        limit: fraction of the training set to use. The validation split is taken from this fraction.
    """

    # What one input is, for the tools that read files: an image file, a row of a CSV file, a series in one, or a text.
    input_kind: ClassVar[Literal["image", "row", "series", "text"] | None] = None

    # What the targets are; a task for other targets is rejected. None: not checked.
    target_kind: ClassVar[TargetKind | None] = None

    shape: Sequence[int]
    seed: int
    batch_size: int
    eval_batch_size: int
    val_fraction: float
    train_on_all: bool
    num_folds: int
    fold: int
    limit: float

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Append the arguments of the base class to the docstring, so that `help` describes all arguments."""
        super().__init_subclass__(**kwargs)
        if cls.__doc__:
            summary = inspect.cleandoc(cls.__doc__).partition("\n\nArgs:\n")[0]
            described = _described(cls)
            fixed = {name for name, value in vars(cls).items() if isinstance(value, Field)}  # no arguments any more
            for name, text in _described(cls.__mro__[1]).items():
                if name not in described and name not in fixed:
                    described[name] = text
            cls.__doc__ = "\n".join([f"{summary}\n\nArgs:", *described.values()])

    def __post_init__(self) -> None:
        super().__init__()
        last_fold = max(self.num_folds, 1) - 1
        check(self.batch_size >= 1, f"batch_size: got {self.batch_size}, must be at least 1")
        check(self.eval_batch_size >= 1, f"eval_batch_size: got {self.eval_batch_size}, must be at least 1")
        check(0 < self.val_fraction < 1, f"val_fraction: got {self.val_fraction}, must be between 0 and 1")
        check(self.num_folds == 0 or self.num_folds >= 2, f"num_folds: got {self.num_folds}, must be 0 or at least 2")
        check(0 <= self.fold <= last_fold, f"fold: got {self.fold}, must be between 0 and {last_fold}")
        check(
            not (self.train_on_all and self.num_folds), "train_on_all: got true, cannot be combined with data.num_folds"
        )
        check(0 < self.limit <= 1, f"limit: got {self.limit}, must be above 0 and at most 1")
        self.shape = tuple(self.shape)
        self.verified = True  # false after a file was accepted although its checksum is not the published one
        # (epoch, samples of this epoch that all processes together have already used); the run sets it
        self.position: Callable[[], tuple[int, int]] = start_of_training
        self.trains_unlabelled = False  # whether the task also trains on samples without labels; the config sets it
        self.order_seeds: Sequence[int] = (self.seed,)  # of an ensemble, one for each member
        self.sampling: Literal["shuffled", "poisson", "secure"] = "shuffled"  # of the training; the run sets it
        self.federation: FedAvg | None = None  # divides the training set between clients; the run sets it
        self.train: Batch | None = None
        self.val: Batch | None = None
        self.test: Batch | None = None

    def files(self) -> Sequence[Path]:
        """The files that `read` needs."""
        return ()

    @abstractmethod
    def read(self, train: bool) -> Batch:
        """Read the training set (from which validation is split) or the test set: inputs (N, ...), targets (N, ...).

        Raises:
            UserError: a file is missing or damaged, or does not fit the config.
        """

    def read_val(self) -> Batch | None:
        """Return the validation set if the data set has its own. Otherwise it is split from the training set."""
        return None

    def sample_ids(self) -> Tensor | None:
        """Return the identities of the training samples, int64 (N,), if samples can be added to the data set.

        The split is then a function of them, so that a new sample does not change the split of the others. None: the
        split depends on the number and order of the samples.
        """
        return None

    def encode(self, item: Any) -> Tensor:
        """Convert one raw input, for example an image file, to a sample as `read` returns it, (...).

        Raises:
            UserError: the input cannot be read, or does not fit the data set.
        """
        raise UserError(f"{type(self).__name__}: has no method `encode`, so its models cannot predict raw inputs")

    def class_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes in the order of their labels, if they are known."""
        return None

    def count_test(self) -> int | None:
        """Return the number of test samples without reading them, if it is known."""
        return None

    def fingerprint(self) -> str:
        """Return a hash of the data: runs with the same fingerprint read the same samples.

        By default it is computed from the training set. Data sets of files use their names, sizes and checksums.
        """
        inputs, targets = self.read(train=True)
        content = [(tensor.dtype, tensor.shape, tensor.contiguous().numpy()) for tensor in (inputs, targets)]
        digest = blake2b(repr([(dtype, shape) for dtype, shape, _ in content]).encode(), digest_size=16)
        for _, _, values in content:
            digest.update(values.data)
        return digest.hexdigest()

    def measured(self) -> dict[str, Any]:
        """Return the arguments that `setup` measured on the training set, so that the run's config stores them."""
        return {}

    def target_tokenizer(self) -> Tokenizer | None:
        """Return what converts the targets back to texts, if they are token ids of texts."""
        return None

    def files_of_run(self) -> dict[str, str]:
        """Return name → text of the files that the run folder gets because the config is not the place for them.

        An example is the vocabulary of a tokenizer. Call it after ``setup("fit")`` or `use_files_of_run`.
        """
        return {}

    def use_files_of_run(self, read: Callable[[str], str]) -> None:
        """Take what `files_of_run` returned from a run folder instead of from the data. By default there is nothing.

        Args:
            read: the name of a file → its text. It raises UserError if the file is missing.

        Raises:
            UserError: a file is missing or damaged.
        """

    def facts(self) -> DataFacts:
        """Return what a module needs to know about the data. Call it after ``setup("fit")``."""
        assert self.train is not None
        targets = self.train[1]
        if not targets.is_floating_point():
            return DataFacts()
        scaling = Scaling(self.shape, targets.shape[1]).to(targets.device)
        self.fit_scaling(scaling)
        return DataFacts(scaling=scaling)

    def strata(self, targets: Tensor) -> Tensor:
        """Return the stratification group of each sample, int64 (N,). By default all samples share one group."""
        return torch.zeros(len(targets), dtype=torch.int64)

    def transform(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return the function that is applied to the inputs of every batch. By default it changes nothing."""
        return torch.nn.Identity()

    def balance(self, targets: Tensor) -> Tensor | None:
        """Return the class of each training sample, int64 (N,), if all classes are to be sampled equally often."""
        return None

    def augmentation(self, inputs: Tensor, targets: Tensor) -> Augment | None:
        """Return the function that draws a training batch at random, or None to use the samples unchanged."""
        return None

    def fit_scaling(self, scaling: Scaling) -> None:
        """Fit `scaling` on the training split. By default, fit only the statistics of the targets."""
        assert self.train is not None
        scaling.fit_targets(self.train[1])

    def setup(self, stage: str) -> None:
        """Read what `stage` (fit, validate or test) needs, once. The test set is not read before it is tested."""
        if stage == "test":
            self.test = self.test or self.read_checked(train=False)
        elif self.train is None:
            self.train, self.val = self.split(*self.read_checked(train=True), self.sample_ids())

    def read_checked(self, train: bool) -> Batch:
        """Read the training or test set, and compare it with the arguments."""
        return self.read(train)

    def split(self, inputs: Tensor, targets: Tensor, ids: Tensor | None) -> tuple[Batch, Batch]:
        """Split the fraction `limit` of these samples into training and validation.

        Args:
            inputs: (N, ...), as returned by `read`.
            targets: (N, ...), as returned by `read`.
            ids: int64 (N,), see `sample_ids`.

        Raises:
            UserError: one of the two has no samples.
        """
        strata, num = self.strata(targets), len(targets)
        if self.limit < 1:
            kept = self._fraction(strata, self.limit, ids, "limit")
            inputs, targets, strata = take(inputs, kept), targets[kept], strata[kept]
            ids = ids if ids is None else ids[kept]
        if val := self.read_val():
            if self.train_on_all:
                inputs, targets = torch.cat((inputs, val[0])), torch.cat((targets, val[1]))
            return (inputs, targets), val
        held_out = self._held_out(strata, ids)
        if not held_out.any():
            raise UserError(
                f"data.num_folds: {self.num_folds} folds of {len(targets)} samples leave fold {self.fold} empty; the "
                f"largest class has {int(torch.bincount(strata).max())} samples"
            )
        if held_out.all():
            key = "limit" if self.limit < 1 else "num_folds" if self.num_folds else "val_fraction"
            raise UserError(
                f"data.{key}: {getattr(self, key)} of {num} samples leaves none for training, because at least one "
                f"sample of each class is used for validation"
            )
        val = (take(inputs, held_out), targets[held_out])
        if self.train_on_all:
            return (inputs, targets), val
        return (take(inputs, ~held_out), targets[~held_out]), val

    def _fraction(self, strata: Tensor, part: float, ids: Tensor | None, purpose: str) -> Tensor:
        if ids is None:
            return splits.fraction(strata, part, self.seed)
        return splits.hashed_fraction(ids, strata, part, self.seed, purpose)

    def _held_out(self, strata: Tensor, ids: Tensor | None) -> Tensor:
        """Choose the samples of the validation split, bool (N,)."""
        if not self.num_folds:
            return self._fraction(strata, self.val_fraction, ids, "val")
        if self.num_folds > len(strata):
            raise UserError(f"data.num_folds: got {self.num_folds}, but there are only {len(strata)} samples")
        if ids is None:
            return splits.fold(strata, self.num_folds, self.fold, self.seed)
        return splits.hashed_fold(ids, self.num_folds, self.fold, self.seed)

    def train_dataloader(self) -> TrainLoader | PoissonLoader | FederatedLoader:
        assert self.train is not None
        inputs, targets = self.train = self._on_device(self.train)
        if self.federation:
            transform, settings = self.transform(inputs.device), self.federation
            return FederatedLoader(
                *(inputs, targets, self.clients(), settings, self.batch_size, transform, self.augmentation),
                seed=self.seed,
                position=self.position,
            )
        if self.sampling != "shuffled":
            augment, seed = self.augmentation(inputs, targets), None if self.sampling == "secure" else self.seed
            transform = self.transform(inputs.device)
            return PoissonLoader(inputs, targets, self.batch_size, transform, augment, seed, self.position)
        return TrainLoader(
            inputs,
            targets,
            self.batch_size,
            self.transform(inputs.device),
            augment=self.augmentation(inputs, targets),
            seeds=self.order_seeds,
            rank=self._rank,
            world=self._world,
            position=self.position,
            balance=self.balance(targets),
        )

    def clients(self) -> list[Tensor]:
        """Return the training samples of each client of a federated training, int64 (N_k,) in ascending order.

        Raises:
            UserError: a client has no samples.
        """
        assert self.train is not None
        assert self.federation is not None
        return split_clients(self.federation, self.train[1], self.target_kind == "class", self.seed)

    def client_samples(self, samples: Tensor) -> Batch:
        """Return the samples of a client to evaluate a net on: inputs before `transform`, and targets.

        Args:
            samples: one of `clients`, int64 (N_k,).
        """
        assert self.train is not None
        inputs, targets = self.train
        index = samples.to(targets.device)
        return inputs[index], targets[index]

    def val_dataloader(self) -> EvalLoader:
        assert self.val is not None
        self.val = self._on_device(self.val)
        return self._eval_loader(self.val, "val")

    def test_dataloader(self) -> EvalLoader:
        assert self.test is not None
        self.test = self._on_device(self.test)
        return self._eval_loader(self.test, "test")

    def _eval_loader(self, split: Batch, name: str) -> EvalLoader:
        """Return the loader of a split, whose name is val or test."""
        inputs, targets = split
        transform = self.transform(inputs.device)
        return EvalLoader(inputs, targets, self.eval_batch_size, transform, self._rank, self._world)

    def _on_device(self, split: Batch) -> Batch:
        """Return the split on the training device. It is small (CIFAR-10: 154 MB), and copying each batch is slow.

        Raises:
            UserError: it does not fit into the memory of the device.
        """
        device = self.trainer.strategy.root_device if self.trainer else split[0].device
        try:
            return split[0].to(device), split[1].to(device)
        except torch.OutOfMemoryError as error:
            size = sum(tensor.numel() * tensor.element_size() for tensor in split)
            message = f"data: {len(split[1]):,} samples need {size / 1e9:.1f} GB, which {device} does not have"
            raise UserError(f"{message}; reduce data.shape or data.limit") from error

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Return `batch` unchanged: the loaders create it on the training device."""
        return batch

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def sizes(self) -> dict[str, int]:
        """Return the number of samples of each split that was read."""
        splits_read = {"train": self.train, "val": self.val, "test": self.test}
        return {name: len(split[1]) for name, split in splits_read.items() if split is not None}

    def describe(self) -> str:
        """Return a text about the classes and splits: "2 classes (cat, dog), 160 train, 20 val, 20 test"."""
        sizes, num_test = self.sizes(), self.count_test()
        sizes.pop("test", None)  # the text is the same before and after the test set was read
        if num_test is not None:
            sizes["test"] = num_test
        parts = [f"{num:,} {split}" for split, num in sizes.items()]
        if self.train_on_all:
            parts[0] += " (with those of val)"
        if names := self.class_names():
            shown = [printable(name) for name in names]
            listed = shown if len(shown) <= MANY else [*shown[:3], "…", shown[-1]]
            parts.insert(0, f"{len(names)} classes ({', '.join(listed)})")
        return ", ".join(parts)


def check(holds: bool, message: str) -> None:
    """Raise a ValueError with `message`, which starts with an argument's name, unless `holds`."""
    if not holds:
        raise ValueError(message)


def printable(text: str) -> str:
    """Return `text` with control characters escaped: a terminal would execute them."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def content_hash(*values: object) -> str:
    """Return a hash of plain values."""
    return blake2b(repr(values).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _described(cls: type) -> dict[str, str]:
    """Return argument → its description in the section "Args" at the end of the docstring of `cls`."""
    section = inspect.cleandoc(cls.__doc__ or "").partition("\n\nArgs:\n")[2]
    return {entry.partition(":")[0].strip(): entry for entry in re.split(r"\n(?= {4}\S)", section) if entry}
