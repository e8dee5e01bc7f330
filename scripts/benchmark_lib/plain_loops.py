"""Plain training loops, whose epochs and those of Leyden take turns."""

import contextlib
import io
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from unittest.mock import patch

import torch
from lightning.pytorch import LightningModule, Trainer
from omegaconf import DictConfig
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from leyden.config.builders import build_data, section
from leyden.config.instantiate import instantiate
from leyden.run import run
from leyden.training.callbacks import EpochStats
from scripts.benchmark_lib.rates import median_ratio, row

PLAIN = ("Adam", "fused Adam")  # optimizers of the plain loops


class PlainLoop(ABC):
    """The shortest training loop: forward, backward, step.

    Args:
        cfg: of the run that trains the same net on the same data.
        fused: whether Adam uses its fused kernel, as Leyden does.
    """

    def __init__(self, cfg: DictConfig, fused: bool) -> None:
        self.net: nn.Module = instantiate(section(cfg, "model"), "model")
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=cfg.optimizer.lr, fused=fused)
        self.batch_size: int = cfg.data.batch_size
        self.data = build_data(cfg)
        self.data.setup("fit")

    def train(self, epochs: int) -> float:
        """Train; return the samples per second."""
        torch.use_deterministic_algorithms(False)  # a plain loop does not use them
        began = time.perf_counter()
        num = sum(self.epoch() for _ in range(epochs))
        rate = num / (time.perf_counter() - began)
        torch.use_deterministic_algorithms(True, warn_only=True)
        return rate

    @abstractmethod
    def epoch(self) -> int:
        """Train for one epoch; return the number of samples."""

    def step(self, inputs: Tensor, targets: Tensor) -> None:
        """Train on one batch. Outputs for each token, (B, T, classes), are samples of their own."""
        self.optimizer.zero_grad()
        outputs = self.net(inputs).flatten(0, -2)
        cross_entropy(outputs, targets.flatten()).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


class PlainImages(PlainLoop):
    """A loop over float images in memory and a shuffled index."""

    def __init__(self, cfg: DictConfig, fused: bool) -> None:
        super().__init__(cfg, fused)
        assert self.data.train is not None
        images, self.labels = self.data.train
        self.images = images.float() / 255

    def epoch(self) -> int:
        for index in torch.split(torch.randperm(len(self.labels)), self.batch_size):
            self.step(self.images[index], self.labels[index])
        return len(self.labels)


class PlainBatches(PlainLoop):
    """A loop over the batches of Leyden's loader."""

    def __init__(self, cfg: DictConfig, fused: bool) -> None:
        super().__init__(cfg, fused)
        self.loader = self.data.train_dataloader()

    def epoch(self) -> int:
        num = 0
        for inputs, targets in self.loader:
            self.step(inputs, targets)
            num += len(targets)
        return num


class PlainWindows(PlainLoop):
    """The loop of nanoGPT: windows at random places of a text in memory."""

    def __init__(self, cfg: DictConfig, fused: bool) -> None:
        super().__init__(cfg, fused)
        assert self.data.train is not None
        windows = self.data.train[0]  # (num, T)
        self.text, (self.num, self.block) = windows.flatten().long(), windows.shape

    def epoch(self) -> int:
        steps = self.num // self.batch_size
        for _ in range(steps):
            starts = torch.randint(len(self.text) - self.block, (self.batch_size,))
            windows = self.text[starts[:, None] + torch.arange(self.block + 1)]  # (B, T + 1)
            self.step(windows[:, :-1], windows[:, 1:])
        return steps * self.batch_size


def alternate_run(
    cfg: DictConfig, plain: PlainLoop, fused: PlainLoop, loops: int = 1
) -> list[tuple[float, float, float]]:
    """Return the rates of `alternate_epochs` for a run and two plain loops."""
    rates = []

    class AlternatingStats(EpochStats):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            rates.append((plain.train(loops), fused.train(loops), self.samples / self.seconds))
            super().on_train_epoch_end(trainer, pl_module)

    with (
        tempfile.TemporaryDirectory() as logs,
        contextlib.redirect_stdout(io.StringIO()),
        patch("leyden.training.trainer.EpochStats", AlternatingStats),
    ):
        cfg.paths.logs = logs
        run(cfg)
    return rates[1:]


def add_rows(
    table: Table, found: dict[str, float], name: str, epochs: Sequence[tuple[float, float, float]], scale: int = 1
) -> None:
    """Add what `alternate_run` has measured to a table and to the ratios, with a row for each plain loop.

    Args:
        table: with the columns name, optimizer, plain loop, Leyden and ratio.
        found: median ratios by name.
        name: of what was measured.
        epochs: rates of `alternate_run`.
        scale: with which the rates are multiplied.
    """
    for index, kind in enumerate(PLAIN):
        pairs = [(one[index] * scale, one[2] * scale) for one in epochs]
        table.add_row(name, kind, *row(pairs))
        found[f"{name}, {kind}"] = median_ratio(pairs)
