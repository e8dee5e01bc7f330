"""What a sweep is asked to do: its settings, space, objective and folder, checked before anything starts."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from leyden.config import nearest, plain
from leyden.errors import UserError
from leyden.sweep.space import Axis, Point, Space, Value, parse, read_axes, read_axis

SAMPLERS = ("tpe", "gp", "cmaes", "nsgaii", "qmc", "random", "brute_force")
PRUNERS = ("none", "median", "hyperband", "asha", "wilcoxon")
MODES = ("min", "max")

Queued = tuple[Point, dict[str, Any]]  # with the attributes of its trial
Compose = Callable[[Sequence[str]], DictConfig]


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


def read_plan(arguments: Sequence[str], loader: ConfigLoader, compose: Compose) -> Plan:
    """The plan of a command line.

    Args:
        arguments: the overrides, those of ``sweep`` with them.
        loader: knows the groups.
        compose: the config of a single run with these overrides, Hydra's part included.

    Raises:
        UserError, hydra.errors.CompactHydraException: something is wrong with it.
    """
    overrides = parse(arguments, loader)
    of_sweep = [o for o in overrides if o.key_or_group == "sweep" or o.key_or_group.startswith("sweep.")]
    for override in of_sweep:
        if override.is_sweep_override():
            raise UserError(f"{override.key_or_group}: cannot have several values")
    settings = read_settings(compose([str(override.input_line) for override in of_sweep]).sweep)

    given = {override.key_or_group for override in overrides}
    recipe = [o for o in parse(settings["overrides"], loader) if o.key_or_group not in given]
    on_line = [override for override in overrides if override not in of_sweep]
    if {"resume"} & given:
        raise UserError("resume: a sweep is continued by the same command, and goes on with its runs by itself")
    fixed = [override for override in [*recipe, *on_line] if not override.is_sweep_override()]
    swept = [read_axis(override) for override in [*recipe, *on_line] if override.is_sweep_override()]
    axes = [axis for axis in read_axes(settings["space"], loader) if axis.key.lstrip("+") not in given]
    texts = {o.key_or_group: str(o.input_line).partition("=")[2] for o in fixed}
    space = Space((*axes, *swept), texts)

    base = tuple(str(override.input_line) for override in fixed)
    config = compose([*(str(override.input_line) for override in of_sweep if override.key_or_group == "sweep"), *base])
    plan = Plan(settings, base, space, plain(config), {str(k): str(v) for k, v in config.hydra.runtime.choices.items()})
    check_together(plan)
    check_composes(plan, compose)
    return plan


def read_settings(sweep: DictConfig) -> dict[str, Any]:
    """``sweep.*`` as plain values. Raises UserError if one is not allowed."""
    settings = OmegaConf.to_container(sweep, resolve=True)
    assert isinstance(settings, dict)

    def demand(key: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise UserError(f"sweep.{key}: got {settings[key]!r}, expected {wanted}")

    for key, words in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        wanted = ", ".join(words)
        demand(key, settings[key] in words, f"one of {wanted}{nearest(str(settings[key]), words)}")
    for key in ("n_trials", "seeds", "batch"):
        number = settings[key] is not None and type(settings[key]) is int and settings[key] >= 1
        demand(key, number or (key == "n_trials" and settings[key] is None), "a whole number from 1")
    name = settings["name"]
    demand("name", name is None or bool(re.fullmatch(r"[\w.+-]*\w[\w.+-]*", str(name))), "the name of a folder")
    storage = str(settings["storage"])
    known = storage == "journal" or storage.startswith(("sqlite:///", "postgresql://"))
    demand("storage", known, "journal, sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    for key in ("objectives", "sampler_args", "pruner_args", "space"):
        settings[key] = {} if settings[key] is None else settings[key]
        demand(key, isinstance(settings[key], dict), "a mapping")
    demand("objectives", all(mode in MODES for mode in settings["objectives"].values()), "names, each with min or max")
    return {str(key): value for key, value in settings.items()}


def check_together(plan: Plan) -> None:
    """Raises UserError if settings do not go together."""
    pruner, seeds = plan.settings["pruner"], plan.settings["seeds"]
    if len(plan.objectives) > 1 and pruner != "none":
        raise UserError("sweep.pruner: with several objectives there is no pruning; take sweep.pruner=none")
    if pruner not in ("none", "wilcoxon") and [*plan.objectives] != [plan.config.objective.metric]:
        metric = plan.config.objective.metric
        raise UserError(f"sweep.pruner: sees {metric} after each epoch, so sweep.objectives must name that alone")
    if pruner == "wilcoxon" and seeds < 2:
        raise UserError("sweep.pruner: wilcoxon compares trials seed by seed, so sweep.seeds must be at least 2")
    if seeds > 1 and any(axis.key == "seed" for axis in plan.space.axes):
        raise UserError("sweep.seeds: the seed itself is swept already")
    if not plan.space.axes and plan.settings["n_trials"] not in (None, 1):
        raise UserError("sweep.n_trials: nothing is searched; give a key a choice, a range or an interval")
    if not plan.queue:
        raise UserError("sweep.n_trials: there is nothing to try")


def check_composes(plan: Plan, compose: Compose) -> None:
    """Raise what composing raises if a key is unknown or a group has no such choice, before anything is run.

    Not every combination is tried: that of all first values, and each other choice of a group once.
    """

    def check(overrides: list[str]) -> None:
        if plan.settings["objectives"]:
            return
        objective = compose([*plan.base, *overrides]).objective
        if {objective.metric: objective.mode} != plan.objectives:
            ours = " and ".join(f"{metric} ({mode})" for metric, mode in plan.objectives.items())
            raise UserError(
                f"sweep.objectives: {' '.join(overrides)} is about {objective.metric} ({objective.mode}), "
                f"other trials about {ours}; name what all of them have"
            )

    def point(group: Axis | None, value: Value | None) -> Point:
        return plan.space.walk(lambda axis: value if axis is group else axis.first)

    check(plan.space.overrides(point(None, None)))
    for group in (axis for axis in plan.space.axes if axis.key in plan.choices):
        for value in group.values()[1:]:
            check(plan.space.overrides(point(group, value)))
