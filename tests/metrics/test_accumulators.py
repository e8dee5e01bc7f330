"""Means over an epoch."""

import torch
from lightning.pytorch import LightningModule, Trainer

from leyden.metrics.accumulators import READ_EVERY, EpochMeanAccumulator


def test_means_are_over_samples_not_over_batches() -> None:
    means, module = EpochMeanAccumulator("loss"), LightningModule()
    module.trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    means.add(3, torch.tensor(1.0))
    means.add(1, torch.tensor(5.0))
    assert means.means(module, "train/")["train/loss"].item() == 2.0
    means.add(2, torch.tensor(7.0))
    assert means.means(module, "train/")["train/loss"].item() == 7.0, "an epoch must start from zero"


def test_a_restored_state_continues_the_epoch() -> None:
    module = LightningModule()
    module.trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    whole, first, second = (EpochMeanAccumulator("loss", "acc") for _ in range(3))
    values = torch.rand(2 * READ_EVERY + 3, 2, generator=torch.Generator().manual_seed(0))
    for number, (loss, acc) in enumerate(values):
        whole.add(number + 1, loss, acc)
        (first if number < 60 else second).add(number + 1, loss, acc)
        if number == 59:
            second.load_state(module, first.state(module))
    assert whole.means(module, "train/") == second.means(module, "train/")
