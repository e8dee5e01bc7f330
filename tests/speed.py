"""Saves repeated work of the tests in one process. What they check does not change.

Most of the time of a test with a small run was spent in composing its config with Hydra, and in visiting all imported
objects: `leyden.run.run` collects garbage before it trains. The processes that tests start do not use this file.
"""

import copy
import gc
import importlib.metadata
import os
import pickle
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from omegaconf import DictConfig

from leyden import run as run_module
from leyden.config import compose as compose_module
from leyden.config.plugins import conf_folders
from leyden.data.digits import Digits
from leyden.data.loaders import Batch


def install() -> None:
    """Use the faster functions in this process, until its end."""
    yaml.load = _remember_yaml(yaml.load)
    compose_module.compose_raw = _remember_configs(compose_module.compose_raw)
    ConfigRepository.load_config = _remember_files(ConfigRepository.load_config)  # type: ignore
    config_loader_impl.create_defaults_list = _remember_choices(config_loader_impl.create_defaults_list)
    ConfigLoaderImpl._compose_config_from_defaults_list = _remember_merged(  # type: ignore
        ConfigLoaderImpl._compose_config_from_defaults_list
    )
    importlib.metadata.entry_points = cache(importlib.metadata.entry_points)
    Digits.read = _remember_digits(Digits.read)  # type: ignore
    # The imports stay frozen, so `run` must not unfreeze them. A complete collection takes 0.2 s in a process with the
    # objects of many tests.
    run_module.gc = SimpleNamespace(  # type: ignore
        collect=lambda: gc.collect(0), freeze=lambda: None, unfreeze=lambda: None
    )
    # A test in this process cannot lose power. `tests/torture` checks which files are written to disk, and when.
    os.fsync = lambda descriptor: os.fstat(descriptor) and None


def freeze_imports() -> None:
    """Exclude all objects that exist now from garbage collection. Call it after the tests were imported."""
    gc.collect()
    gc.freeze()


def _remember_yaml(parse: Any) -> Any:
    """Parse each YAML text once: Hydra parses the same twenty files each time that it composes a config."""
    known: dict[tuple[str, str], Any] = {}

    def load(stream: Any, Loader: Any) -> Any:  # noqa: N803
        text = stream if isinstance(stream, str) else stream.read()
        key = (text, Loader.__qualname__)
        if key not in known:
            known[key] = parse(text, Loader=Loader)
        return copy.deepcopy(known[key])

    return load


def _remember_configs(compose: Any) -> Any:
    """Compose each config once. Configs of plugins are always composed, because their files change."""
    known: dict[tuple[str, ...], bytes] = {}

    def remembered(overrides: Sequence[str]) -> DictConfig:
        if conf_folders():
            return compose(overrides)
        key = (str(Path.cwd()), *overrides)
        if key not in known:
            known[key] = pickle.dumps(compose(overrides))
        return pickle.loads(known[key])

    return remembered


def _remember_files(load: Any) -> Any:
    """Read each file of a config once."""
    known: dict[tuple[str, ...], bytes] = {}

    def remembered(self: Any, config_path: str) -> Any:
        key = (*_sources(self), config_path)
        if conf_folders() or key not in known:
            found = load(self, config_path)
            if conf_folders() or found is None:
                return found
            known[key] = pickle.dumps(found)
        return pickle.loads(known[key])

    return remembered


def _remember_choices(create: Any) -> Any:
    """Find the files of a config once for each combination of choices, such as ``model=cnn``.

    Hydra applies the other overrides, such as ``seed=1``, to the merged files.
    """
    known: dict[tuple[Any, ...], DefaultsList] = {}

    def remembered(repo: Any, config_name: Any, overrides_list: Any, **options: bool) -> DefaultsList:
        if conf_folders():
            return create(repo, config_name, overrides_list, **options)
        overrides = Overrides(repo, overrides_list)
        choices = [override.input_line for override in overrides_list if override not in overrides.config_overrides]
        key = (*_sources(repo), config_name, *choices, *options.values())
        if key not in known:
            known[key] = create(repo, config_name, overrides_list, **options)
        found = known[key]
        overrides.known_choices = dict(found.overrides.known_choices)
        return DefaultsList(found.defaults, found.defaults_tree, overrides.config_overrides, overrides)

    return remembered


def _remember_merged(merge: Any) -> Any:
    """Merge the files of each combination of choices once."""
    known: dict[tuple[str, ...], bytes] = {}

    def remembered(self: Any, defaults: Any, repo: Any) -> DictConfig:
        if conf_folders():
            return merge(self, defaults, repo)
        key = (*_sources(repo), repr(defaults))
        if key not in known:
            known[key] = pickle.dumps(merge(self, defaults, repo))
        return pickle.loads(known[key])

    return remembered


def _remember_digits(read: Any) -> Any:
    """Read the digits, which most runs of the tests are trained on, once for each size of the images."""
    known: dict[tuple[object, ...], Batch] = {}

    def remembered(self: Digits, train: bool) -> Batch:
        key = (*self.shape, train)
        if key not in known:
            known[key] = read(self, train)
        images, labels = known[key]
        return images.clone(), labels.clone()

    return remembered


def _sources(repo: Any) -> tuple[str, ...]:
    return tuple(source.path for source in repo.get_sources())
