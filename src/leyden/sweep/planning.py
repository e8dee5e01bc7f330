"""From a command line to the plan of a sweep, checked before anything starts."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from leyden.config.compose import plain
from leyden.config.suggest import nearest
from leyden.errors import UserError
from leyden.sweep.plan import Plan
from leyden.sweep.space import Axis, Point, Space, Value, parse, read_axes, read_axis

SAMPLERS = ("tpe", "gp", "cmaes", "nsgaii", "qmc", "random", "brute_force")
PRUNERS = ("none", "median", "hyperband", "asha", "wilcoxon")
MODES = ("min", "max")

Compose = Callable[[Sequence[str]], DictConfig]


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
    if "resume" in given:
        raise UserError("resume: a sweep is continued by the same command, and goes on with its runs by itself")
    # The command line has the last word: what it gives, a recipe neither fixes nor searches.
    of_recipe = [o for o in parse(settings["overrides"], loader) if o.key_or_group not in given]
    of_trials = [*of_recipe, *(override for override in overrides if override not in of_sweep)]
    swept = [read_axis(override) for override in of_trials if override.is_sweep_override()]
    axes = [*swept, *(axis for axis in read_axes(settings["space"], loader) if axis.key.lstrip("+") not in given)]

    fixed = [override for override in of_trials if not override.is_sweep_override()]
    base = tuple(str(override.input_line) for override in fixed)
    config = compose([*(str(override.input_line) for override in of_sweep if override.key_or_group == "sweep"), *base])
    choices = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items()}
    known = {**choices, **{o.key_or_group: str(o.input_line).partition("=")[2] for o in fixed}}
    plan = Plan(settings, base, Space(tuple(axes), known), plain(config), choices)
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
    for axis in plan.space.axes:
        for key, value in axis.conditions:
            if key not in plan.space.fixed and all(key != other.key for other in plan.space.axes):
                raise UserError(f"sweep.space: {key}={value} is a condition on what is neither searched nor given")
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
