"""The config of a run folder: keys of earlier versions are converted, and all are checked before anything is built."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from leyden.config.builders import LISTED_TRUSTED
from leyden.config.compose import compose_raw, groups, unknown_key
from leyden.config.instantiate import locate
from leyden.config.plugins import load_plugins
from leyden.config.rules import LISTED, check_config, check_resumable
from leyden.config.suggest import nearest
from leyden.errors import UserError
from leyden.records.json_files import read_json
from leyden.records.run_folder import read_config

CACHE = "data/cache"  # of decoded images
TENSORBOARD = {"tensorboard": {"_target_": "leyden.records.loggers.TensorBoard"}}

# Keys that run folders of earlier versions lack → the value that stands for what those versions did.
ADDED: Mapping[str, Any] = {
    "plugins": [],
    "ensemble": 1,
    "ensemble_lr": [],
    "ensemble_order": "own",
    "augment": True,  # its effect on data.shift and data.flip is stored there
    "init_from": None,
    "callbacks": {},
    "averaging": {"_target_": "leyden.optim.averages.NoAverage"},
    "federated": {"_target_": "leyden.optim.federated.NoFederation"},
    "privacy": {"_target_": "leyden.optim.privacy.NoPrivacy"},
    "trainer.num_nodes": 1,
    "trainer.max_steps": -1,
    "trainer.max_time": None,
    "trainer.val_check_interval": 1.0,
    "trainer.gradient_clip_algorithm": "norm",
    "trainer.sync_batchnorm": False,
    "trainer.benchmark": None,
    "trainer.detect_anomaly": False,
    "trainer.profiler": None,
    "trainer.matmul_precision": "highest",
    "trainer.channels_last": False,
}
# A key that only some data sets or tasks have → keys that they lack in run folders of earlier versions, with values.
ADDED_NEXT_TO: Mapping[str, Mapping[str, Any]] = {
    "data.val_fraction": {"train_on_all": False},
    "data.flip": {
        "crop": 1.0,
        "rotate": 0.0,
        "jitter": 0.0,
        "randaugment": 0,
        "cutout": 0,
        "balanced": False,
        "labels": 1.0,
    },
    "task.cutmix": {"class_weights": "none", "tta": "none"},
}
# A class → arguments that it lacks in run folders of earlier versions, with values.
ADDED_TO: Mapping[str, Mapping[str, Any]] = {
    "leyden.nets.resnet.ResNet": {"norm": "batch"},
    "leyden.nets.mlp.MLP": {"category_sizes": [], "embedding": None},
    "leyden.nets.recurrent.Recurrent": {"pool": "last", "vocab_size": 0, "embedding": 128, "vectors": None},
    "leyden.nets.transformer.Transformer": {"vocab_size": 0, "vectors": None},
    "leyden.data.table.Table": {"categories": "onehot", "category_sizes": []},
    "leyden.data.series.Series": {"time": None, "group": None, "gaps": "skip"},
    "leyden.nets.seq2seq.Seq2Seq": {"vocab_size": 0, "tie_weights": False},
}


def loaded_config(folder: Path) -> DictConfig:
    """Return the config of a run folder for a tool that does not train; see `stored_config`."""
    load_plugins()
    with naming_config(folder):
        return without_observers(read_config(folder), folder)


@contextmanager
def naming_config(folder: Path) -> Iterator[None]:
    """Put the file in front of errors in the config of a run folder: they name the key, but not which run has it."""
    try:
        yield
    except UserError as error:
        if str(folder) in str(error):
            raise
        raise UserError(f"{folder / 'config.yaml'}: {error}{other_version(folder)}") from error


def other_version(folder: Path) -> str:
    """Return which version of Leyden wrote a run folder, in brackets, or an empty text if it was this one."""
    path = folder / "origin.json"
    versions = read_json(path).get("versions") if path.is_file() else None
    theirs = versions.get("leyden") if isinstance(versions, dict) else None
    if theirs in (None, version("leyden")):
        return ""
    return f" (the run was written by Leyden {str(theirs)[:20]}, this is {version('leyden')})"


def without_observers(cfg: DictConfig, source: Path) -> DictConfig:
    """Check a config that was read from `source`, without its callbacks and loggers: only a training builds them."""
    OmegaConf.set_struct(cfg, False)
    cfg.callbacks, cfg.logger = {}, {}
    return checked_config(cfg, source)


def stored_config(folder: Path, overrides: Iterable[str] = ()) -> DictConfig:
    """Return the config of a run folder to resume it, with `overrides` of the keys that a resumed run may change.

    Args:
        folder: the run folder. It may be a stranger's: nothing in it is imported or resolved.
        overrides: ``key=value``, from the user's own command line; they may add callbacks, loggers and plugins.

    Raises:
        UserError: `folder` is not a run folder, its config is not allowed, or an override is not.
    """
    overrides = [override for override in overrides if override.partition("=")[0] != "resume"]
    load_plugins(overrides)
    return checked_config(read_config(folder), folder, overrides)


def checked_config(cfg: DictConfig, source: Path, overrides: Iterable[str] = ()) -> DictConfig:
    """Return a config that was read from the run folder or file `source`, see `stored_config`."""
    cfg, overrides = upgraded(cfg), list(overrides)
    own = apply(cfg, overrides)
    check_config(cfg)
    given = {override.partition("=")[0].lstrip("+") for override in overrides}
    for key, value in harmless(cfg.data).items():
        if f"data.{key}" not in given:
            cfg.data[key] = value
    for group in LISTED:
        for name, spec in cfg[group].items():
            if f"{group}.{name}" not in own:
                _check_stored_object(source, group, str(name), spec)
    return cfg


def harmless(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a harmless copy of `spec`, a section ``data`` that may come from a stranger.

    Nothing is downloaded, no address is contacted, and images are decoded into the default cache, not into a folder
    that the run folder names.
    """
    own = {"download": False, "mirrors": [], "cache": CACHE}
    return {str(key): own.get(str(key), value) for key, value in spec.items()}


def upgraded(cfg: DictConfig) -> DictConfig:
    """Add the keys that earlier versions of Leyden did not have, and remove the key that no longer exists."""
    OmegaConf.set_struct(cfg, False)
    cfg.pop("augmentation", None)  # of vae, gan and autoencoder; its effect on data.shift and data.flip is stored there
    if "logger" not in cfg:
        cfg.logger = TENSORBOARD if cfg.pop("tensorboard", True) else {}
    if isinstance(cfg.get("paths"), DictConfig) and "data" not in cfg.paths:
        cfg.paths.data = "data"
    for key, value in ADDED.items():
        group, _, name = key.rpartition(".")
        section = cfg if not group else cfg.get(group)
        if isinstance(section, DictConfig) and name not in section:
            section[name] = value
    for key, others in ADDED_NEXT_TO.items():
        group = key.partition(".")[0]
        if _has(cfg, key):
            cfg[group] = {**others, **cfg[group]}
    for group in ("data", "model"):
        section = cfg.get(group)
        target = section.get("_target_") if isinstance(section, DictConfig) else None
        if isinstance(target, str) and target in ADDED_TO:
            cfg[group] = {**ADDED_TO[target], **cfg[group]}
    OmegaConf.set_struct(cfg, True)
    return cfg


def apply(cfg: DictConfig, overrides: Iterable[str]) -> set[str]:
    """Apply `overrides` to a stored config, in place.

    Returns:
        ``logger.NAME`` and ``callbacks.NAME`` of the objects that the overrides define.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise UserError(f"{error.override}: cannot be read. Put the value in quotes: \"KEY='VALUE'\"") from error
    check_resumable(item.key_or_group for item in parsed if item.key_or_group not in LISTED)
    own = set()
    for item in parsed:
        key = item.key_or_group
        if item.is_sweep_override():
            raise UserError(f"{key}: cannot have several values when a run is resumed")
        group, _, rest = key.partition(".")
        if key in LISTED:
            OmegaConf.update(cfg, key, chosen(key, item.value()), merge=False)
            own |= {f"{key}.{name}" for name in cfg[key]}
            continue
        if group in LISTED:
            name, _, argument = rest.partition(".")
            if argument in ("", "_target_"):
                own.add(f"{group}.{name}")
            if argument == "" or (argument == "_target_" and group == "logger"):
                value = item.value() if argument == "" else _given(parsed, f"logger.{name}")
                OmegaConf.update(cfg, f"{group}.{name}", value, merge=False, force_add=True)
                continue
        elif not _has(cfg, key):
            raise UserError(unknown_key(key, ()))
        OmegaConf.update(cfg, key, item.value(), force_add=group in LISTED)
    return own


def chosen(group: str, choices: Any) -> dict[str, Any]:
    """Return the section ``logger`` or ``callbacks`` for one choice of the group, or for a list of them.

    Raises:
        UserError: there is no such choice.
    """
    names = choices if isinstance(choices, list) else [choices]
    for name in names:
        if name not in groups()[group]:
            known = list(groups()[group])
            there = f"{nearest(str(name), known)}; there are {', '.join(known)}"
            raise UserError(f"{group}={name}: there is no such {group}{there}")
    section = OmegaConf.to_container(compose_raw([f"{group}=[{','.join(names)}]"])[group], resolve=True)
    assert isinstance(section, dict)
    return {str(name): spec for name, spec in section.items()}


def _given(parsed: Iterable[Override], key: str) -> dict[str, Any]:
    """Return what the overrides set below `key`. A logger of a run folder keeps nothing of its own.

    It sends data to an address, and the address must not come from the folder.
    """
    found = OmegaConf.create({})
    for item in parsed:
        if item.key_or_group.startswith(f"{key}."):
            OmegaConf.update(found, item.key_or_group.removeprefix(f"{key}."), item.value(), force_add=True)
    return {str(name): value for name, value in found.items()}


def _has(cfg: DictConfig, key: str) -> bool:
    """Return whether the config has `key`, even if its value is null."""
    group, _, name = key.rpartition(".")
    section = OmegaConf.select(cfg, group) if group else cfg
    return isinstance(section, DictConfig) and name in section


def _repeated(group: str, name: str, target: str) -> str:
    """Return the override that chooses an object of a run folder again."""
    is_choice = target.startswith("leyden.") and name in groups()[group]
    return f"{group}={name}" if is_choice else f"+{group}.{name}._target_={target}"


def _check_stored_object(source: Path, group: str, name: str, spec: Any) -> None:
    """Reject a callback or logger of a run folder that is not one of Leyden's own."""
    target = spec["_target_"] if isinstance(spec, DictConfig) and "_target_" in spec else None
    try:
        locate(str(target), f"{group}.{name}", LISTED_TRUSTED)
    except UserError as error:
        raise UserError(
            f"{group}.{name}: the run in {source} uses {target!r}. A run folder cannot add it by itself. "
            f"If you trust it, repeat it on the command line: {_repeated(group, name, str(target))}"
        ) from error
