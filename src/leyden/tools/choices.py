"""Which choices of the config groups a stored config was composed from."""

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from leyden.config.compose import CONF

GROUPS = ("data", "model", "task", "optimizer", "scheduler")
MEASURED = ("mean", "std")  # a data set whose YAML leaves them out measures them on its training split


def choice_names(config: dict[str, str]) -> dict[str, str]:
    """Return group → choice, for example ``{"model": "gru"}``, or the name of the class if the choice is not clear.

    Args:
        config: dotted key → value, of a run.
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


def measured_keys(config: dict[str, str]) -> set[str]:
    """Return the keys whose values the run measured on its training split, so that they differ between seeds."""
    sections = [
        _section(CONF / "data" / f"{choice}.yaml", "data") for choice in candidates("data", config["data._target_"])
    ]
    return {f"data.{key}" for key in MEASURED for section in sections if key in section and section[key] is None}


def candidates(group: str, target: str) -> list[str]:
    """Return the choices of `group` that build the class `target`."""
    return choices_by_target(group).get(target, [])


@cache
def choices_by_target(group: str) -> dict[str, list[str]]:
    """Return `_target_` → the choices of `group` that have it."""
    listed = defaultdict(list)
    for path in sorted((CONF / group).glob("[!_]*.yaml")):
        section = _section(path, group)
        if "_target_" in section:
            listed[section["_target_"]].append(path.stem)
    return dict(listed)


@cache
def _section(path: Path, group: str) -> dict[str, Any]:
    """Return what the choice at `path` and the choices that it is based on write into `group`."""
    values: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    section: dict[str, Any] = {}
    for base in values.pop("defaults", []):
        if isinstance(base, str) and (path.parent / f"{base}.yaml").exists():
            section |= _section(path.parent / f"{base}.yaml", group)
    return {**section, **(values.get(group, values))}
