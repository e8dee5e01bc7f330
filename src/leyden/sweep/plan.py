"""What a sweep is asked to do: its settings, space, objective and folder, checked before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from leyden.sweep.space import Axis, Point, Space

Queued = tuple[Point, dict[str, Any]]  # with the attributes of its trial


@dataclass(frozen=True)
class Plan:
    """A sweep.

    Args:
        settings: ``sweep.*``.
        base: overrides of every trial.
        config: the config of a trial without any of the space's overrides, and Hydra's part of it.
    """

    settings: Mapping[str, Any]
    base: tuple[str, ...]
    space: Space
    config: DictConfig
    choices: Mapping[str, str]

    @cached_property
    def objectives(self) -> dict[str, str]:
        """What is optimised → min or max."""
        return self.settings["objectives"] or {self.config.objective.metric: self.config.objective.mode}

    @cached_property
    def search(self) -> bool:
        """Whether a sampler chooses the points, or all are gone through."""
        return self.settings["n_trials"] is not None and self.settings["sampler"] != "brute_force"

    @cached_property
    def queue(self) -> Sequence[Queued]:
        """The points that are tried first, each with the attributes of its trial."""
        if self.search:
            default = self.default
            known = [self.space.place(values) for values in self.settings["enqueue"]]
            first: Queued = (default, {"default": list(default)})
            return [first, *((point, {}) for point in known)]
        return [(point, {}) for point in self.space.points()][: self.settings["n_trials"]]

    @cached_property
    def default(self) -> Point:
        """The values that the config has anyway, of those axes on which they lie."""

        def value_of(axis: Axis) -> Any:
            if axis.key in self.choices:
                return axis.match(self.choices[axis.key])
            value = OmegaConf.select(self.config, axis.key.lstrip("+"))
            return axis.match(OmegaConf.to_object(value) if OmegaConf.is_config(value) else value)

        return self.space.walk(value_of)

    @cached_property
    def n_trials(self) -> int:
        """How many there are in the end."""
        return int(self.settings["n_trials"]) if self.search else len(self.queue)

    @cached_property
    def identity(self) -> str:
        """All that makes two commands the same sweep, so that the second continues the first.

        Where its files are and how many trials at what pace may differ.
        """
        parts = [f"{name}: {self.settings[name]}" for name in ("seeds", "sampler", "sampler_args", "pruner")]
        parts += [f"{name}: {self.settings[name]}" for name in ("pruner_args", "enqueue")]
        parts += [str(self.objectives), "search" if self.search else "grid"]
        parts += sorted(override for override in self.base if not override.startswith("paths."))
        return "\n".join([*parts, *map(repr, self.space.axes)])

    @cached_property
    def name(self) -> str:
        """Of the sweep: its recipe, data and model as far as they are one, and a digest of its identity."""
        if self.settings["name"]:
            return str(self.settings["name"])
        swept = {axis.key for axis in self.space.axes}
        recipe = [] if self.choices["sweep"] == "default" else [self.choices["sweep"]]
        label = "-".join([*recipe, *(self.choices[key] for key in ("data", "model") if key not in swept)])
        return f"{label}-{blake2b(self.identity.encode(), digest_size=4).hexdigest()}".lstrip("-")

    @cached_property
    def folder(self) -> Path:
        return Path(self.config.paths.logs).resolve() / "sweeps" / self.name
