"""The losses of the GAN against values worked out by hand."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from leyden.config.builders import build_data, build_module
from leyden.config.compose import compose
from leyden.modules.gan import GAN, discriminator_loss, generator_loss, gradient_penalty
from leyden.records.run_folder import last_checkpoint


def test_losses_of_known_logits() -> None:
    real, fake = torch.tensor([0.0, 0.0]), torch.tensor([math.log(3), math.log(3)])  # 1/2 and 3/4 real
    assert discriminator_loss(real, fake).item() == pytest.approx(math.log(2) + math.log(4))
    assert generator_loss(fake).item() == pytest.approx(math.log(4 / 3))


def test_penalty_of_a_linear_discriminator_is_its_squared_norm() -> None:
    discriminator = nn.Linear(3, 1)
    with torch.no_grad():
        discriminator.weight.copy_(torch.tensor([[1.0, -2.0, 3.0]]))
    penalty = gradient_penalty(lambda x: discriminator(x).squeeze(1), torch.randn(7, 3))
    assert penalty.item() == pytest.approx(14)
    (gradient,) = torch.autograd.grad(penalty, discriminator.weight)
    assert gradient[0].tolist() == pytest.approx([2, -4, 6])


def test_the_average_counts_its_steps_for_a_resumed_run(
    resumed: Callable[..., tuple[Path, Path]], short_feature_net: None
) -> None:
    folders = resumed(
        "model=gan", "model.channels=[4,8]", "trainer=cpu", "trainer.limit_train_batches=5", "trainer.max_epochs=2",
        "task.num_samples=100", "checkpoint.every_n_steps=2",
    )  # fmt: skip
    for folder in folders:
        state = torch.load(last_checkpoint(folder), weights_only=True)["state_dict"]
        assert state["average.n_averaged"] == 10


def test_each_gradient_is_clipped(
    finished: Callable[..., Path], short_feature_net: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []

    def note(self: GAN, loss: torch.Tensor, optimizer: Any) -> None:
        descend(self, loss, optimizer)
        weights = optimizer.param_groups[0]["params"]
        norms.append(torch.cat([weight.grad.flatten() for weight in weights]).norm().item())

    descend = GAN._descend
    monkeypatch.setattr(GAN, "_descend", note)
    finished(
        "model=gan", "model.channels=[4,8]", "trainer=cpu", "trainer.limit_train_batches=5", "task.num_samples=100",
        "task.gradient_clip_val=0.01", "task.r1=1.0", "trainer.max_epochs=1",
    )  # fmt: skip
    assert len(norms) == 10
    assert norms == pytest.approx([0.01] * 10, rel=1e-3)


def test_a_plateau_schedule_steps_after_each_validation_only(
    finished: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a validation there is no metric: this was a KeyError at the end of the first epoch."""
    steps: list[float] = []
    real = ReduceLROnPlateau.step

    def note(self: ReduceLROnPlateau, metrics: float, *args: Any) -> None:
        steps.append(float(metrics))
        real(self, metrics, *args)

    monkeypatch.setattr(ReduceLROnPlateau, "step", note)
    module = build_module(compose("model=gan", "model.channels=[4,8]", "task.num_samples=100", "scheduler=plateau"))
    data = build_data(compose("data.limit=0.2"))
    data.setup("fit")
    module.use_facts(data.facts())
    trainer = Trainer(
        max_epochs=4, check_val_every_n_epoch=2, limit_train_batches=2, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    assert len(steps) == 2 * 2, "two validations, two schedules"
