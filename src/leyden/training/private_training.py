"""Differentially private training: ``privacy=dp``."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from torch import Tensor

from leyden.config.builders import section
from leyden.config.instantiate import instantiate
from leyden.config.privacy_rules import check_privacy, is_federated
from leyden.data.datamodule import InMemoryData
from leyden.data.poisson import EmptyBatch, PoissonLoader
from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.nets.sample_gradients import ClippedGradients
from leyden.optim.privacy import DPSGD, NoPrivacy, Spending, opacus
from leyden.seeding import secure_normal


class PrivateTraining(Callback):
    """Clips the gradient of each sample, adds noise to their sum, and accounts for it. Its state is in `last.ckpt`.

    Args:
        settings: the budget and how gradients are clipped.
        net: the net that is trained.
        batch_size: expected number of samples of a batch.
    """

    def __init__(self, settings: DPSGD, net: torch.nn.Module, batch_size: int) -> None:
        self.settings, self.batch_size = settings, batch_size
        self.gradients = ClippedGradients(net, settings.max_grad_norm, settings.chunk_size, self._private)
        self.spending = Spending(settings)

    def plan(self, data: InMemoryData, trainer: Mapping[str, Any]) -> None:
        """Choose the noise for a new training, or check that a resumed one keeps its budget. The data has been read.

        Args:
            data: the data.
            trainer: the section ``trainer`` of the config.

        Raises:
            UserError: a value does not fit the number of samples, or epsilon would be exceeded.
        """
        loader = data.train_dataloader()
        assert isinstance(loader, PoissonLoader)
        num = len(loader.targets)
        if self.batch_size > num:
            raise UserError(f"data.batch_size: got {self.batch_size}, must be at most {num}, the number of samples")
        limit = trainer["limit_train_batches"]
        steps = min(len(loader), limit) if isinstance(limit, int) else int(len(loader) * limit)
        steps *= trainer["max_epochs"]
        if trainer["max_steps"] != -1:
            steps = min(steps, trainer["max_steps"])
        self.spending.plan(num, loader.sample_rate, steps)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.gradients.attach()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.gradients.detach()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.gradients.is_empty = isinstance(batch, EmptyBatch)

    def _private(self, total: Tensor) -> Tensor:
        """Return the private gradient of a weight from the sum of clipped gradients, (*P).

        It is divided by the expected number of samples: the real one is not public. The random generators have been
        seeded for this step.
        """
        if self.settings.secure:
            noise = secure_normal(total.numel()).view_as(total).to(total)
        else:
            noise = torch.randn_like(total)
        return (total + self.spending.noise_multiplier * self.settings.max_grad_norm * noise) / self.batch_size

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.spending.num_steps += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("privacy/epsilon", self.spending.epsilon)

    def state_dict(self) -> dict[str, Any]:
        return self.spending.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.spending.load_state(state_dict)


def private_training(
    cfg: DictConfig,
    module: BaseModule,
    data: InMemoryData,
    checkpoint: Mapping[str, Any] | None,
) -> PrivateTraining | None:
    """Return the callback for ``cfg.privacy``, and let `data` draw its batches for it.

    None if there is no guarantee, or if it is that of a federated training, which protects clients, not samples.

    Args:
        cfg, module, data: config, module and data of the run.
        checkpoint: the run resumes from it.

    Raises:
        UserError: a value is not allowed, or does not fit another.
    """
    settings = private_settings(cfg, module, data)
    if settings is None or is_federated(cfg):
        return None
    data.sampling = "secure" if settings.secure else "poisson"
    private = PrivateTraining(settings, module.net, data.batch_size)
    if checkpoint:
        private.load_state_dict(checkpoint["callbacks"][private.state_key])
    return private


def private_settings(cfg: DictConfig, module: BaseModule, data: InMemoryData) -> DPSGD | None:
    """Return the settings of ``cfg.privacy``; None if it asks for no guarantee. Raises UserError as above."""
    settings = instantiate(section(cfg, "privacy"), "privacy", (NoPrivacy, DPSGD))
    if not isinstance(settings, DPSGD):
        return None
    check_privacy(cfg, module, data)
    opacus()
    return settings
