"""The limit that ended a training, and whether a new config raises it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf

from leyden.errors import UserError
from leyden.training.callbacks import EarlyStopping

LIMITS = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time", "early_stopping.patience")
SECONDS = (86_400, 3_600, 60, 1)  # of the parts of DD:HH:MM:SS


def ended_by(trainer: Trainer, cfg: DictConfig) -> dict[str, int | str]:
    """Return the limit that ended a training, as report.json holds it: its config key and its value.

    Args:
        trainer: it has finished the training.
        cfg: config of the run.
    """
    stopping = cast(EarlyStopping, trainer.early_stopping_callback)
    if trainer.current_epoch >= cfg.trainer.max_epochs:
        key = "trainer.max_epochs"
    elif 0 < cfg.trainer.max_steps <= trainer.global_step:
        key = "trainer.max_steps"
    else:
        key = "early_stopping.patience" if stopping.has_stopped() else "trainer.max_time"
    return {"key": key, "limit": OmegaConf.select(cfg, key)}


def raises_limit(cfg: DictConfig, report: Mapping[str, Any], folder: Path) -> bool:
    """Whether `cfg` raises the limit that ended a finished run, so that the run can continue.

    Args:
        cfg: config with which the run would be resumed.
        report: report.json of the run.
        folder: its run folder.

    Raises:
        UserError: the report is damaged.
    """
    key, before = ending(report, folder)
    value = OmegaConf.select(cfg, key)
    return value in (None, -1) or _number(value) > _number(before)


def ending(report: Mapping[str, Any], folder: Path) -> tuple[str, int | str]:
    """Return the key and the value of the limit that ended a run.

    Raises:
        UserError: the report is damaged.
    """
    try:
        if "ended_by" in report:
            key, limit = report["ended_by"]["key"], report["ended_by"]["limit"]
        elif report["epochs"] < report["max_epochs"] and "early_stopping" in report:  # of an earlier version
            key, limit = "early_stopping.patience", report["early_stopping"]["patience"]
        else:
            key, limit = "trainer.max_epochs", report["max_epochs"]
        _number(limit)
    except (AttributeError, KeyError, TypeError, ValueError):
        key, limit = "", ""
    if key not in LIMITS:
        raise UserError(f"{folder / 'report.json'}: is damaged (it does not say what ended the training)")
    return key, limit


def _number(limit: int | str) -> int:
    """Return a limit as a number: of epochs, steps or seconds."""
    if isinstance(limit, int):
        return limit
    return sum(int(part) * seconds for part, seconds in zip(limit.split(":"), SECONDS, strict=True))
