"""Saves repeated work of the tests in one process. What they check does not change.

Most of the time of a test with a small run was spent in composing its config with Hydra, and in visiting all imported
objects: `leyden.run.run` collects garbage before it trains. The processes that tests start do not use this file.
"""

import copy
import gc
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from omegaconf import DictConfig

from leyden import run as run_module
from leyden.config import compose as compose_module
from leyden.config.plugins import conf_folders


def install() -> None:
    """Use the faster functions in this process, until its end."""
    yaml.load = _remember_yaml(yaml.load)
    compose_module.compose_raw = _remember_configs(compose_module.compose_raw)
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
