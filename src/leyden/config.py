"""The configuration: composing it, and saying what is wrong with an override. Imports no torch."""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from leyden.data.class_folders import class_names
from leyden.errors import UserError

CONF = Path(__file__).resolve().parents[2] / "conf"

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


# Keys that no class takes as an argument, with what they may be.
SETTINGS: dict[str, tuple[type | tuple[type, ...], Callable[[Any], bool], str]] = {
    "seed": (int, lambda seed: seed >= 0, "a whole number from 0"),
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
            raise UserError(f"{key}: there is no such key{nearest(key, _dotted(cfg))}")
        OmegaConf.update(cfg, key, item.value())
    check_settings(cfg)
    return cfg


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


def nearest(word: str, words: Iterable[str], prefix: str = "") -> str:
    """``", did you mean …?"`` or nothing."""
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f", did you mean {prefix}{close[0]}?" if close else ""


def _keys(overrides: Iterable[str]) -> list[str]:
    """Every dotted key of the config that the valid choices of groups among `overrides` give."""
    choices = groups()
    kept = []
    for override in overrides:
        group, _, choice = override.partition("=")
        if choice in choices.get(group, {}):
            kept.append(override)
    return list(_dotted(OmegaConf.to_container(_compose(kept), resolve=False)))


def _dotted(node: Any, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if key == "hydra":
            continue
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
