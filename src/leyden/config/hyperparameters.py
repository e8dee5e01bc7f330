"""Which keys of a run were set: on the command line, by a sweep, or in `compose`."""

from collections.abc import Iterable

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from leyden.config.compose import groups

# Sections and keys that say where files are and what is written, not what is trained.
NO_HYPERPARAMETERS = ("paths", "hydra", "sweep", "plugins", "logger", "callbacks", "name", "resume")


def given_overrides() -> list[str]:
    """Return the overrides of the config that was composed last. The overrides of a trial belong to them."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def set_hyperparameters(cfg: DictConfig, overrides: Iterable[str]) -> dict[str, object]:
    """Return the values of the keys, and the choices of the groups, that `overrides` set.

    Args:
        cfg: the config of the run.
        overrides: ``key=value``. They may come from a stranger's run folder; only keys of `cfg` are used.
    """
    known, found = groups(), {}
    for text in overrides:
        try:
            (override,) = OverridesParser.create().parse_overrides([text])
        except (HydraException, ValueError):
            continue  # a damaged or hostile folder; what cannot be read is no hyperparameter
        key = override.key_or_group
        if override.is_delete() or key.partition(".")[0] in NO_HYPERPARAMETERS:
            continue
        value = override.get_value_element_as_str() if key in known else OmegaConf.select(cfg, key)
        if value is not None:
            found[key] = value
    return found
