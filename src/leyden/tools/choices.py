"""Find the choices of the config groups from which a stored config was composed."""

from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from leyden.config.compose import CONF
from leyden.config.plugins import conf_folders

GROUPS = ("data", "model", "task", "optimizer", "scheduler", "averaging", "privacy", "federated")
MEASURED = ("mean", "std")  # a data set whose YAML leaves them out measures them on its training split


def choice_names(config: dict[str, str]) -> dict[str, str]:
    """Return group → choice, for example ``{"model": "gru"}``, or the name of the class if the choice is not clear.

    Args:
        config: the config of a run, dotted key → value.
    """
    found = {group: candidates(group, config[f"{group}._target_"]) for group in GROUPS if f"{group}._target_" in config}
    if "data" in found and "model" in found:
        # By default the name of a run is <data>-<model>, which decides between lstm and gru, for example.
        pairs = [(d, m) for d in found["data"] for m in found["model"] if config["name"] == f"{d}-{m}"]
        if pairs:
            found["data"], found["model"] = ([one] for one in pairs[0])
    return {
        group: choices[0] if len(choices) == 1 else config[f"{group}._target_"].rpartition(".")[2]
        for group, choices in found.items()
    }


def task_name(target: str) -> str:
    """Return the choice of the group ``task`` that builds the class `target`, for example ``vae``.

    The name of the class, if no choice or several build it.
    """
    names = candidates("task", target)
    return names[0] if len(names) == 1 else target.rpartition(".")[2]


def measured_keys(config: dict[str, str]) -> set[str]:
    """Return the keys whose values the run measured on its training split, so that they differ between seeds."""
    sections = [
        _section(CONF / "data" / f"{choice}.yaml", "data") for choice in candidates("data", config["data._target_"])
    ]
    return {f"data.{key}" for key in MEASURED for section in sections if key in section and section[key] is None}


def candidates(group: str, target: str) -> list[str]:
    """Return the choices of `group` that build the class `target`."""
    return [choice for choice, section in choices(group) if section.get("_target_") == target]


def choices(group: str) -> list[tuple[str, dict[str, Any]]]:
    """Return (choice, what it writes into `group`) for Leyden's choices and those of plugins."""
    return _choices(group, (CONF, *conf_folders()))


@cache
def _choices(group: str, folders: tuple[Path, ...]) -> list[tuple[str, dict[str, Any]]]:
    paths = sorted(path for folder in folders for path in (folder / group).glob("[!_]*.yaml"))
    return [(path.stem, _section(path, group)) for path in paths]


@cache
def _section(path: Path, group: str) -> dict[str, Any]:
    """Return what the choice at `path` and the choices that it is based on write into `group`."""
    values: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    section: dict[str, Any] = {}
    for base in values.pop("defaults", []):
        if isinstance(base, str) and (path.parent / f"{base}.yaml").exists():
            section |= _section(path.parent / f"{base}.yaml", group)
    return {**section, **(values.get(group, values))}
