"""The configuration: composing it from ``conf/``, and explaining what is wrong with an override. Imports no torch."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, InterpolationResolutionError, OmegaConfBaseException

from leyden.config.implied import with_task
from leyden.config.plugins import conf_folders, load_plugins
from leyden.config.quoting import is_other_type, quote_paths
from leyden.config.rules import ELSEWHERE, REPLACED, check_config, metric_mode
from leyden.config.suggest import dotted, nearest
from leyden.data.image_files.listing import class_names
from leyden.data.table_columns import category_sizes_of, classes_of, features_of, width_of
from leyden.data.text_labels import text_classes
from leyden.errors import UserError

MAX_VALUES = 5_000  # of an override: reading them takes a second
CONF = Path(__file__).resolve().parents[3] / "conf"


def by_value(key: str, values: Mapping[str, Any], *, _root_: DictConfig) -> Any:
    """Return the entry of `values` for the value of the config key `key`.

    Raises:
        UserError: there is none.
    """
    value = OmegaConf.select(_root_, key)
    if value not in values:
        raise UserError(f"{key}: got {value}{nearest(str(value), list(values))}; allowed are {', '.join(values)}")
    return values[value]


# For YAML files: ${class_folders:PATH}, ${count:LIST}, ${sum:A,B}, ${product:A,B}, ${by_value:KEY,TABLE},
# ${given:VALUE}, ${metric_mode:METRIC}, and those of conf/data/table.yaml and text.yaml.
OmegaConf.register_new_resolver("class_folders", class_names, replace=True)
OmegaConf.register_new_resolver("count", len, replace=True)
OmegaConf.register_new_resolver("sum", lambda *numbers: sum(numbers), replace=True)
OmegaConf.register_new_resolver("product", lambda *numbers: math.prod(numbers), replace=True)
OmegaConf.register_new_resolver("given", lambda value: value is not None, replace=True)
OmegaConf.register_new_resolver("by_value", by_value, replace=True)
OmegaConf.register_new_resolver("metric_mode", metric_mode, replace=True)
OmegaConf.register_new_resolver("table_features", features_of, replace=True)
OmegaConf.register_new_resolver("table_classes", classes_of, replace=True)
OmegaConf.register_new_resolver("table_width", width_of, replace=True)
OmegaConf.register_new_resolver("table_category_sizes", category_sizes_of, replace=True)
OmegaConf.register_new_resolver("text_classes", text_classes, replace=True)


def compose(*overrides: str) -> DictConfig:
    """Return the config that ``python train.py <overrides>`` runs, for notebooks and tests.

    Raises:
        UserError: an override names a key or a choice that does not exist, or a value is not allowed.
    """
    for override in overrides:
        if override.startswith("-"):
            raise UserError(f"{override}: is an option, not an override. Start a sweep with: python train.py -m …")
    load_plugins(overrides)
    check_choices(overrides)
    try:
        cfg = compose_raw(with_task(quote_paths(overrides)))
    except CompactHydraException as error:
        raise UserError(explain(error)) from error
    HydraConfig.instance().set_config(cfg)
    return plain(cfg)


def default_values(*choices: str) -> dict[str, Any]:
    """Return dotted key → value of the config of `choices`, such as ``model=cnn``, before anything else is given.

    Keys whose value cannot be computed here are left out, for example the classes of photos that are elsewhere.

    Raises:
        UserError: a choice does not exist.
    """
    check_choices(choices)
    try:
        cfg = compose_raw(choices)
    except CompactHydraException as error:
        raise UserError(explain(error)) from error
    HydraConfig.instance().set_config(cfg)
    values = {}
    for key in dotted(OmegaConf.to_container(cfg, resolve=False)):
        try:
            value = OmegaConf.select(cfg, key)
            values[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        except OmegaConfBaseException:
            continue
    return values


def plain(cfg: DictConfig) -> DictConfig:
    """Return a checked copy of `cfg` with every interpolation resolved, without the sections of Hydra and sweeps.

    Raises:
        UserError: a value is not allowed, or an interpolation refers to a key that does not exist.
    """
    try:
        values = OmegaConf.to_container(cfg, resolve=True)
    except InterpolationResolutionError as error:
        raise _cause(error) from error
    assert isinstance(values, dict)
    values.pop("hydra", None)
    values.pop("sweep", None)
    resolved = OmegaConf.create(values)
    OmegaConf.set_struct(resolved, True)
    check_config(resolved)
    return resolved


def _cause(error: InterpolationResolutionError) -> BaseException:
    """Return the error to show: for a missing key, the key that refers to it; otherwise the UserError in the chain.

    If a resolver raises an error, OmegaConf wraps it once for each interpolation that refers to it.
    """
    if isinstance(error, InterpolationKeyError) and (
        missing := re.search(r"Interpolation key '(.*)' not found", str(error))
    ):
        section = missing[1].partition(".")[0]
        choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
        chosen = f"{section}={choices[section]}" if section in choices else "the config"
        return UserError(
            f"{error.full_key} refers to {missing[1]}, which {chosen} does not define. Choose a task, a data set and a "
            "model that fit together"
        )
    inner: BaseException | None = error
    while inner and not isinstance(inner, UserError):
        inner = inner.__context__
    return inner or error


def check_choices(overrides: Iterable[str]) -> None:
    """Raise UserError if an override selects no choice of a group, or a file that only other files use (``_…``).

    Also if it has more values than Hydra can read: the time of its parser grows with the square of their number.
    """
    listed = groups()
    for override in overrides:
        group, equals, choice = override.partition("=")
        if choice.count(",") >= MAX_VALUES:
            raise UserError(f"{group}: got {choice.count(',') + 1:,} values, must be at most {MAX_VALUES:,}")
        if not equals or group not in listed or choice.startswith("{"):
            continue
        is_list = choice.startswith("[") and choice.endswith("]")
        for name in (name.strip() for name in (choice[1:-1] if is_list else choice).split(",")):
            if name == "null" and group == "experiment":
                continue
            if not name or name.startswith(("_", "[", "{")) or is_other_type(name):
                got = choice or "nothing"
                raise UserError(f"{group}: got {got}, must be one of {', '.join(listed[group])}")


def compose_raw(overrides: Sequence[str]) -> DictConfig:
    """Return the config with its interpolations and the sections of Hydra, unchecked."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra_compose("config", list(overrides), return_hydra_config=True)


def groups() -> dict[str, dict[str, str]]:
    """Return config group → choice → its description (the first comment of its file), including plugins."""
    found: dict[str, dict[str, str]] = {}
    for conf in (CONF, *conf_folders()):
        for folder in sorted(path for path in conf.iterdir() if path.is_dir()):
            choices = found.setdefault(folder.name, {})
            for file in sorted(folder.glob("*.yaml")):
                if not file.stem.startswith("_"):
                    choices.setdefault(file.stem, _headline(file))
    return found


def _headline(file: Path) -> str:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            return line[2:]
    return ""


def explain(error: CompactHydraException, overrides: Iterable[str] = ()) -> str:
    """Return one line for an error of Hydra: the key, the value, and the nearest one that is allowed.

    Args:
        error: what composing raised.
        overrides: the command line. Its valid choices of groups are kept when keys are suggested.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        options = [option for option in error.options if not option.startswith("_")]
        return f"{group}={choice}: there is no such {group}{nearest(choice, options)}; there are {', '.join(options)}"
    message = str(error)
    if existing := re.search(r"Could not append to config\. An item is already at '([^'@]+)'", message):
        return f"{existing[1]}: exists. Leave out the + in front of it"
    if unknown := re.search(r"Could not (?:override|append to config|delete from config)[^']*'([^'@]+)", message):
        return unknown_key(unknown[1], overrides)
    if unreadable := _parse_error(error):
        return f"{unreadable.override}: cannot be read. Put the value in quotes: \"KEY='VALUE'\""
    cause = f": {error.__cause__}" if error.__cause__ else ""
    return " ".join(f"{message}{cause}".split())


def _parse_error(error: BaseException | None) -> OverrideParseException | None:
    """Return the error of Hydra's override parser that caused `error`, None if there is none."""
    while error:
        if isinstance(error, OverrideParseException):
            return error
        error = error.__cause__ or error.__context__
    return None


def unknown_key(key: str, overrides: Iterable[str]) -> str:
    """Return the line for a key that does not exist. It names the nearest key that exists."""
    if key.startswith("trainer.") and (name := key.partition(".")[2]) in REPLACED:
        return f"{key}: cannot be set; {REPLACED[name]}"
    if key in ELSEWHERE:
        return f"{key}: {ELSEWHERE[key]}"
    keys = list(all_keys(overrides))
    parent, _, name = key.rpartition(".")
    siblings = [other.rpartition(".")[2] for other in keys if other.rpartition(".")[0] == parent]
    same_leaf = [other for other in keys if other.rpartition(".")[2] == name]
    hint = nearest(name, siblings, parent and parent + ".")
    if same_leaf:
        hint = f", did you mean {' or '.join(same_leaf)}?"
    listing = f"; {parent} has {', '.join(siblings)}" if parent and siblings else ""
    return f"{key}: there is no such key{hint}{listing}"


def with_choices(overrides: Iterable[str]) -> DictConfig:
    """Return the unresolved config with the valid group choices in `overrides`. Its other overrides are ignored."""
    choices = groups()
    kept = []
    for override in overrides:
        group, _, choice = override.partition("=")
        if group in choices and choice in choices[group]:
            kept.append(override)
    return compose_raw(kept)


def all_keys(overrides: Iterable[str]) -> Iterator[str]:
    """Return every dotted key of the config that is composed with the valid group choices in `overrides`."""
    yield from dotted(OmegaConf.to_container(with_choices(overrides), resolve=False))
