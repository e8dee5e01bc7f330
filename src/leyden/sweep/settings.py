"""The allowed values of ``sweep.*``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from omegaconf import DictConfig, OmegaConf

from leyden.config.rules import check_section, metric_mode, require
from leyden.errors import UserError

Sampler = Literal["tpe", "gp", "cmaes", "nsgaii", "qmc", "random", "brute_force"]
Pruner = Literal["none", "median", "hyperband", "asha", "wilcoxon"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
PRUNERS: tuple[str, ...] = get_args(Pruner)
MODES = ("min", "max")


@dataclass(kw_only=True)
class SweepSettings:
    """The keys of ``sweep``."""

    name: str | None
    n_trials: int | None
    seeds: int
    sampler: Sampler
    sampler_args: Mapping[str, Any] | None
    pruner: Pruner
    pruner_args: Mapping[str, Any] | None
    objectives: Mapping[str, Any] | None
    storage: str
    overrides: Sequence[str]
    space: Mapping[str, Any] | None
    enqueue: Sequence[Mapping[str, Any]]
    keep: int | None
    retry_failed: bool
    batch: int

    def __post_init__(self) -> None:
        for key in ("n_trials", "seeds", "keep", "batch"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"{key}: got {value}, must be at least 1")
        named = self.name is None or re.fullmatch(r"[\w.+-]*\w[\w.+-]*", self.name)
        require(bool(named), f"name: got {self.name!r}, must be the name of a folder")
        known = self.storage == "journal" or self.storage.startswith(("sqlite:///", "postgresql://"))
        places = "journal, sqlite:///FILE or postgresql://USER@HOST/DATABASE"
        require(known, f"storage: got {self.storage!r}, must be {places}")
        for objective, mode in (self.objectives or {}).items():
            check_objective(objective, mode)


def read_settings(sweep: DictConfig) -> dict[str, Any]:
    """Return ``sweep.*`` as plain values. A mapping that is null becomes an empty one.

    Raises:
        UserError: a value is not allowed.
    """
    settings = vars(check_section(SweepSettings, OmegaConf.to_container(sweep, resolve=True), "sweep"))
    mappings = ("sampler_args", "pruner_args", "objectives", "space")
    return {key: {} if value is None and key in mappings else value for key, value in settings.items()}


def check_objective(name: str, mode: Any) -> None:
    """Raise UserError if an objective is a metric of the test set, or if its mode is not allowed."""
    if re.search(r"(^|\.)test/", name):
        raise UserError(f"sweep.objectives: {name} is a metric of the test set; use a validation metric (val/…)")
    if mode not in MODES:
        raise UserError(f"sweep.objectives: got {name}: {mode}, expected min or max")
    if "/" in name and metric_mode(name) == "min" and mode == "max":
        raise UserError(f"sweep.objectives: got {name}: max, but {name} is better if it is smaller; type {name}: min")
