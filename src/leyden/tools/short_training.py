"""A training of a few steps without a run folder, for tools that look for good values of a config."""

from collections.abc import Sequence

import torch
from lightning.pytorch import Callback
from omegaconf import DictConfig

from leyden.config.builders import build_data, build_module, section
from leyden.data.datamodule import InMemoryData
from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.modules.generative import GenerativeModule
from leyden.seeding import seed_all
from leyden.training.callbacks import ResumePosition, StepSeed
from leyden.training.trainer import bare_trainer, silence_lightning
from leyden.training.transfer import freeze_callbacks, initialise_weights

NO_PRIVACY = "leyden.optim.privacy.NoPrivacy"
# No validation, one device, no end but the number of steps.
SETTINGS = {
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "min_epochs": None,
    "max_epochs": -1,
    "max_time": None,
    "limit_val_batches": 0,
    "val_check_interval": 1.0,
    "profiler": None,
}


class ShortTraining:
    """Trains a new model for a few steps, as ``python train.py`` begins, with a constant learning rate.

    Args:
        cfg: a checked and resolved config, see `leyden.config.compose.compose`.

    Raises:
        UserError: a value in the config is not allowed, or the data cannot be read.
    """

    def __init__(self, cfg: DictConfig) -> None:
        silence_lightning()
        if section(cfg, "privacy")["_target_"] != NO_PRIVACY:
            raise UserError("privacy: got dp, but this tool trains without noise, so its result would not be private")
        self.cfg = cfg
        cfg.scheduler = {"_target_": "leyden.optim.constant"}
        self.data: InMemoryData = build_data(cfg)
        build_module(cfg)  # its mistakes are reported before data is read
        self.data.prepare_data()
        self.data.setup("fit")

    @property
    def num_samples(self) -> int:
        """Number of samples of the training split."""
        return self.data.sizes()["train"]

    def train(self, callbacks: Sequence[Callback], max_steps: int) -> None:
        """Train a new model.

        Args:
            callbacks: they observe the steps, and may stop the training.
            max_steps: largest number of optimizer steps.

        Raises:
            UserError: the tool does not apply to the module.
        """
        seed_all(torch.device("cpu"), self.cfg.seed, "init")
        module = build_module(self.cfg)
        if not module.automatic_optimization:
            raise UserError(f"model: {type(module.net).__name__} has several optimizers, to which this does not apply")
        initialise_weights(module, self.cfg)
        module.use_facts(self.data.facts())
        self._prepare(module)
        if self.cfg.trainer.compile:
            module.net.compile()
        settings = {**section(self.cfg, "trainer"), **SETTINGS, "max_steps": max_steps}
        trainer = bare_trainer(settings, module)
        position = ResumePosition(self.data.batch_size)
        self.data.position = position.position
        own = [StepSeed(self.cfg.seed), position, *freeze_callbacks(module, 1)]
        trainer.callbacks = [*own, *trainer.callbacks, *callbacks]  # type: ignore[attr-defined]
        trainer.fit(module, datamodule=self.data)

    def _prepare(self, module: BaseModule) -> None:
        """Call `prepare_fit`, except where it only trains the feature extractor that measures generated images."""
        if not isinstance(module, GenerativeModule):
            module.prepare_fit(self.data)
