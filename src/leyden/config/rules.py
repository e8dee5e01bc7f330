"""Which values the config may have, and which keys a resumed run may change. Imports no torch."""

from collections.abc import Callable, Iterable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from leyden.config.suggest import dotted, nearest
from leyden.errors import UserError

# Keys that no class takes as an argument, with what they may be.
SETTINGS: dict[str, tuple[type | tuple[type, ...], Callable[[Any], bool], str]] = {
    "seed": (int, lambda seed: seed >= 0, "a whole number from 0"),
    "augment": (bool, lambda _: True, "true or false"),
    "tensorboard": (bool, lambda _: True, "true or false"),
    "checkpoint.every_n_steps": (int, lambda steps: steps >= 0, "a whole number of steps, 0 for once per epoch"),
    "early_stopping.patience": (int, lambda epochs: epochs >= 1, "a whole number of epochs from 1"),
    "early_stopping.min_delta": ((int, float), lambda _: True, "a number"),
    "objective.metric": (str, lambda _: True, "the name of a metric"),
    "objective.mode": (str, lambda mode: mode in ("min", "max"), "min or max"),
    "paths.logs": (str, lambda _: True, "a folder"),
    "init_from": ((str, type(None)), lambda _: True, "a run folder or null"),
    "trainer.max_epochs": (int, lambda epochs: epochs >= 1, "a whole number from 1"),
    "trainer.accumulate_grad_batches": (int, lambda batches: batches >= 1, "a whole number from 1"),
    "trainer.gradient_clip_val": ((int, float), lambda norm: norm >= 0, "a number from 0, which means no limit"),
    "trainer.compile": (bool, lambda _: True, "true or false"),
}


def check_settings(cfg: DictConfig) -> None:
    """Raises UserError if one of `SETTINGS` is of the wrong type or out of its range."""
    for key, (kind, holds, wanted) in SETTINGS.items():
        value = OmegaConf.select(cfg, key)
        right_type = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if not right_type or not holds(value):
            raise UserError(f"{key}: got {value!r}, expected {wanted}")


# What may differ when a run is resumed; all else is what the run is.
RESUMABLE = (
    "trainer.",
    "checkpoint.",
    "early_stopping.",
    "data.root",
    "data.cache",
    "data.path",
    "data.verify",
    "data.download",
    "tensorboard",
)


def override(cfg: DictConfig, overrides: Iterable[str]) -> DictConfig:
    """The config of an earlier run with `overrides` of keys in `RESUMABLE`.

    Raises:
        UserError: an override is of something else.
    """
    for item in OverridesParser.create().parse_overrides(list(overrides)):
        key = item.key_or_group
        if key == "resume":
            continue
        if not key.startswith(RESUMABLE) or item.is_sweep_override():
            raise UserError(f"{key}: a resumed run keeps its own; only {', '.join(RESUMABLE)} can be given")
        if OmegaConf.select(cfg, key) is None:
            raise UserError(f"{key}: there is no such key{nearest(key, dotted(cfg))}")
        OmegaConf.update(cfg, key, item.value())
    check_settings(cfg)
    return cfg
