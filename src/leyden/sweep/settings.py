"""The allowed values of ``sweep.*``."""

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

from leyden.config.rules import metric_mode
from leyden.config.suggest import nearest
from leyden.errors import UserError

SAMPLERS = ("tpe", "gp", "cmaes", "nsgaii", "qmc", "random", "brute_force")
PRUNERS = ("none", "median", "hyperband", "asha", "wilcoxon")
MODES = ("min", "max")


def read_settings(sweep: DictConfig) -> dict[str, Any]:
    """Return ``sweep.*`` as plain values.

    Raises:
        UserError: a value is not allowed.
    """
    settings = OmegaConf.to_container(sweep, resolve=True)
    assert isinstance(settings, dict)

    def require(key: str, holds: bool, expected: str) -> None:
        if not holds:
            raise UserError(f"sweep.{key}: got {settings[key]!r}, expected {expected}")

    for key, names in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        require(key, settings[key] in names, f"one of {', '.join(names)}{nearest(str(settings[key]), names)}")
    for key in ("n_trials", "seeds", "batch"):
        number = type(settings[key]) is int and settings[key] >= 1
        require(key, number or (key == "n_trials" and settings[key] is None), "a whole number from 1")
    name = settings["name"]
    require("name", name is None or bool(re.fullmatch(r"[\w.+-]*\w[\w.+-]*", str(name))), "the name of a folder")
    storage = str(settings["storage"])
    known = storage == "journal" or storage.startswith(("sqlite:///", "postgresql://"))
    require("storage", known, "journal, sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    for key in ("objectives", "sampler_args", "pruner_args", "space"):
        settings[key] = {} if settings[key] is None else settings[key]
        require(key, isinstance(settings[key], dict), "a mapping")
    require("retry_failed", isinstance(settings["retry_failed"], bool), "true or false")
    for objective, mode in settings["objectives"].items():
        check_objective(str(objective), mode)
    return {str(key): value for key, value in settings.items()}


def check_objective(name: str, mode: Any) -> None:
    """Raise UserError if an objective is a metric of the test set, or if its mode is not allowed."""
    if re.search(r"(^|\.)test/", name):
        raise UserError(f"sweep.objectives: {name} is a metric of the test set; use a validation metric (val/…)")
    if mode not in MODES:
        raise UserError(f"sweep.objectives: got {name}: {mode}, expected min or max")
    if "/" in name and metric_mode(name) == "min" and mode == "max":
        raise UserError(f"sweep.objectives: got {name}: max, but {name} is better if it is smaller; type {name}: min")
