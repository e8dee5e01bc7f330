"""The configuration: composing it, and saying what is wrong with an override. Imports no torch."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from leyden.config.rules import check_settings
from leyden.config.suggest import dotted, nearest
from leyden.data.image_files.listing import class_names
from leyden.errors import UserError

CONF = Path(__file__).resolve().parents[3] / "conf"

# For YAMLs: ${class_folders:PATH}, ${count:LIST}, ${sum:A,B} and ${product:A,B}.
OmegaConf.register_new_resolver("class_folders", class_names, replace=True)
OmegaConf.register_new_resolver("count", len, replace=True)
OmegaConf.register_new_resolver("sum", lambda *numbers: sum(numbers), replace=True)
OmegaConf.register_new_resolver("product", lambda *numbers: math.prod(numbers), replace=True)


def compose(*overrides: str) -> DictConfig:
    """The config that ``python train.py <overrides>`` would run, for notebooks and tests.

    Raises:
        UserError: an override names no key or no choice.
    """
    try:
        cfg = _compose(overrides)
    except CompactHydraException as error:
        raise UserError(explain(error)) from error
    HydraConfig.instance().set_config(cfg)
    return plain(cfg)


def plain(cfg: DictConfig) -> DictConfig:
    """`cfg` checked, with every interpolation resolved and without Hydra's part and the sweep's.

    Raises:
        UserError: a value is wrong, or what one refers to is not there.
    """
    try:
        values = OmegaConf.to_container(cfg, resolve=True)
    except InterpolationResolutionError as error:
        raise _cause(error) from error
    assert isinstance(values, dict)
    values.pop("hydra", None)
    values.pop("sweep", None)
    resolved = locked(values)
    check_settings(resolved)
    return resolved


def _cause(error: InterpolationResolutionError) -> BaseException:
    """What to tell the user: of a key that is not there, who wants it; else the UserError that OmegaConf has wrapped
    into its own, once for each interpolation that led to it, if any.
    """
    if missing := re.search(r"Interpolation key '(.*)' not found", str(error)):
        return UserError(
            f"{error.full_key}: wants {missing[1]}, which there is not; do task, data and model go together?"
        )
    inner: BaseException | None = error
    while inner and not isinstance(inner, UserError):
        inner = inner.__context__
    return inner or error


def locked(values: dict[Any, Any]) -> DictConfig:
    """A config of `values` in which an unknown key is an error."""
    cfg = OmegaConf.create(values)
    OmegaConf.set_struct(cfg, True)
    return cfg


def _compose(overrides: Sequence[str]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra_compose("config", list(overrides), return_hydra_config=True)


def groups() -> dict[str, dict[str, str]]:
    """Config group → choice → what it is (the first comment of its file)."""
    return {
        folder.name: {
            file.stem: _headline(file) for file in sorted(folder.glob("*.yaml")) if not file.stem.startswith("_")
        }
        for folder in sorted(CONF.iterdir())
        if folder.is_dir()
    }


def _headline(file: Path) -> str:
    for line in file.read_text().splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            return line[2:]
    return ""


def explain(error: CompactHydraException, overrides: Iterable[str] = ()) -> str:
    """One line for an error of Hydra's: the key, what was got, the nearest thing allowed.

    Args:
        error: what composing raised.
        overrides: the command line, from which the choices of groups are kept when keys are listed.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        options = [option for option in error.options if not option.startswith("_")]
        return f"{group}={choice}: there is no such {group}{nearest(choice, options)}; there are {', '.join(options)}"
    message = str(error)
    if unknown := re.search(r"Could not override '([^'@]+)", message):
        key = unknown[1]
        parent, _, name = key.rpartition(".")
        siblings = [k for k in _keys(overrides) if k.rpartition(".")[0] == parent]
        hint = nearest(name, [k.rpartition(".")[2] for k in siblings], parent and parent + ".")
        near = f"; {parent} has {', '.join(k.rpartition('.')[2] for k in siblings)}" if parent and siblings else ""
        return f"{key}: there is no such key{hint}{near}"
    if bad := re.search(r"Error parsing override '(.*)'", message):
        return f"{bad[1]}: cannot be read as key=value"
    cause = f": {error.__cause__}" if error.__cause__ else ""
    return " ".join(f"{message}{cause}".split())


def _keys(overrides: Iterable[str]) -> list[str]:
    """Every dotted key of the config that the valid choices of groups among `overrides` give."""
    choices = groups()
    kept = []
    for override in overrides:
        group, _, choice = override.partition("=")
        if choice in choices.get(group, {}):
            kept.append(override)
    return list(dotted(OmegaConf.to_container(_compose(kept), resolve=False)))
