"""The plan of a sweep: its settings, search space, objectives and folder, checked before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from leyden.config.compose import plain
from leyden.errors import UserError
from leyden.sweep.axes import Axis, parse
from leyden.sweep.identity import flat_config
from leyden.sweep.settings import read_settings
from leyden.sweep.space import Point, Space, read_axes, read_axis
from leyden.sweep.variants import Compose, Variant, compose_variants

EnqueuedPoint = tuple[Point, dict[str, Any]]  # a point and the attributes of its trial

# Keys whose values are repetitions of one configuration.
REPLICATES = ("seed", "data.seed", "data.fold")


@dataclass(frozen=True)
class Plan:
    """A sweep.

    Args:
        settings: ``sweep.*``.
        base: overrides that all trials have in common.
        space: what differs between the trials.
        config: the config with `base`, but without any override of the space.
        choices: the group choices of `config`: group → choice.
        variants: override that selects a choice of a config group → the properties of that config.
        values: the values of `config` before interpolation, see `flat_config`.
        compose: returns the config of a run.
    """

    settings: Mapping[str, Any]
    base: tuple[str, ...]
    space: Space
    config: DictConfig
    choices: Mapping[str, str]
    variants: Mapping[str, Variant]
    values: Mapping[str, str]
    compose: Compose

    @cached_property
    def objectives(self) -> dict[str, str]:
        """Name of each objective → min or max."""
        return self.settings["objectives"] or {self.config.objective.metric: self.config.objective.mode}

    @cached_property
    def search(self) -> bool:
        """Whether a sampler chooses the points. If not, all combinations are tried."""
        return self.settings["n_trials"] is not None and self.settings["sampler"] != "brute_force"

    @cached_property
    def queue(self) -> Sequence[EnqueuedPoint]:
        """The points that are tried first, each with the attributes of its trial."""
        if self.search:
            default = self.default
            known = [self.space.point_at(values) for values in self.settings["enqueue"]]
            first: EnqueuedPoint = (default, {"default": list(default)})
            return [first, *((point, {}) for point in known)]
        return [(point, {}) for point in self.space.points()][: self.settings["n_trials"]]

    @cached_property
    def default(self) -> Point:
        """The point with the values of the config. Axes that do not contain this value are left out."""

        def value_of(axis: Axis) -> Any:
            if axis.key in self.choices:
                return axis.match(self.choices[axis.key])
            value = OmegaConf.select(self.config, axis.key.lstrip("+"))
            return axis.match(OmegaConf.to_object(value) if OmegaConf.is_config(value) else value)

        return self.space.walk(value_of)

    @cached_property
    def n_trials(self) -> int:
        """The number of trials, including those of earlier starts."""
        return int(self.settings["n_trials"]) if self.search else len(self.queue)

    @cached_property
    def seeds(self) -> Sequence[int]:
        """The seeds of the runs of each trial."""
        first = int(self.config.seed)
        return range(first, first + self.settings["seeds"])

    def run_overrides(self, overrides: Sequence[str], run: int) -> tuple[str, ...]:
        """Return all overrides of one run of a trial.

        Args:
            overrides: overrides of the trial.
            run: index of the run in `seeds`.
        """
        if len(self.seeds) == 1:
            return (*self.base, *overrides)
        base = [override for override in self.base if not override.startswith("seed=")]
        return (*base, *overrides, f"seed={self.seeds[run]}")

    def run_folders(self, number: int) -> list[Path]:
        """Return the run folders of the trial folder `number`, one per seed."""
        folder = self.folder / str(number)
        return [folder] if len(self.seeds) == 1 else [folder / f"seed-{seed}" for seed in self.seeds]

    def run_identity(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return what identifies a run: its overrides and the values of its config, see `leyden.sweep.identity`.

        Raises:
            hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException: the config cannot be composed.
        """
        kept = sorted(override for override in overrides if not override.startswith("paths."))
        return {"overrides": kept, "config": flat_config(self.compose(overrides))}

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What must be equal in two commands, so that the second one continues the sweep of the first one.

        The location of the files, the number of trials and the number of jobs are not part of it.
        """
        digests = {label: variant.digest for label, variant in self.variants.items()}
        return {"content": self.content, "config": dict(self.values), "choices": digests}

    @cached_property
    def content(self) -> list[str]:
        """The settings of the sweep that determine its trials."""
        parts = [f"{name}: {self.settings[name]}" for name in ("seeds", "sampler", "sampler_args", "pruner")]
        parts += [f"{name}: {self.settings[name]}" for name in ("pruner_args", "enqueue")]
        parts += [str(self.objectives), "search" if self.search else "grid"]
        parts += sorted(override for override in self.base if not override.startswith("paths."))
        return [*parts, *map(str, self.space.axes)]

    @cached_property
    def name(self) -> str:
        """``sweep.name``; if it is null, a name made of the file in conf/sweep, the data, the model and a digest."""
        if self.settings["name"]:
            return str(self.settings["name"])
        swept = [axis.key for axis in self.space.axes]
        parts = [self.choices["sweep"]] if self.choices["sweep"] != "default" else []
        parts += ["experiment"] if "experiment" in swept else []
        for group in ("data", "model"):
            chosen = {variant.choices[group] for variant in self.variants.values()}
            parts += chosen if len(chosen) == 1 else []
        label = "-".join(parts or [key.strip("+").rpartition(".")[2] for key in swept])
        content = "\n".join(self.content).encode()
        return f"{label}-{blake2b(content, digest_size=4).hexdigest()}"

    @cached_property
    def folder(self) -> Path:
        """The folder of the sweep."""
        return Path(self.config.paths.logs).resolve() / "sweeps" / self.name


def read_plan(arguments: Sequence[str], loader: ConfigLoader, compose: Compose) -> Plan:
    """Return the plan of a command line.

    Args:
        arguments: all overrides of the command line, including those of ``sweep``.
        loader: Hydra's loader, which knows the config groups.
        compose: returns the config of a single run with the given overrides, including Hydra's own part.

    Raises:
        UserError, hydra.errors.CompactHydraException: a setting, an override or their combination is not allowed.
    """
    overrides = parse(arguments, loader)
    of_sweep = [o for o in overrides if o.key_or_group == "sweep" or o.key_or_group.startswith("sweep.")]
    for override in of_sweep:
        if override.is_sweep_override():
            raise UserError(f"{override.key_or_group}: must have one value, got {override.input_line}")
    settings = read_settings(compose([_text(override) for override in of_sweep]).sweep)

    given = {override.key_or_group for override in overrides}
    if "resume" in given:
        raise UserError("resume: not used with -m; start the command of the sweep again to resume it with all its runs")
    # The command line takes precedence over the sweep's file.
    of_recipe = [o for o in parse(settings["overrides"], loader) if o.key_or_group not in given]
    of_trials = [*of_recipe, *(override for override in overrides if override not in of_sweep)]
    swept = [read_axis(override) for override in of_trials if override.is_sweep_override()]
    axes = [*swept, *(axis for axis in read_axes(settings["space"], loader) if axis.key.lstrip("+") not in given)]

    fixed = [override for override in of_trials if not override.is_sweep_override()]
    base = tuple(_text(override) for override in fixed)
    config = compose([*(_text(override) for override in of_sweep if override.key_or_group == "sweep"), *base])
    choices = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items()}
    known = {**choices, **{o.key_or_group: _text(o).partition("=")[2] for o in fixed}}
    values, space, plain_config = flat_config(config), Space(tuple(axes), known), plain(config)
    variants = compose_variants(space, base, choices, compose)
    plan = Plan(settings, base, space, plain_config, choices, variants, values, compose)
    check_combinations(plan)
    check_objectives(plan)
    return plan


def _text(override: Override) -> str:
    return str(override.input_line)


def check_combinations(plan: Plan) -> None:
    """Raise UserError if two settings exclude each other."""
    pruner, seeds, metric = plan.settings["pruner"], plan.settings["seeds"], plan.config.objective.metric
    if len(plan.objectives) > 1 and pruner != "none":
        raise UserError(f"sweep.pruner: {pruner} works with one objective only; type sweep.pruner=none")
    if len(plan.objectives) > 1 and plan.settings["keep"] is not None:
        raise UserError("sweep.keep: works with one objective only; type sweep.keep=null")
    if pruner not in ("none", "wilcoxon") and [*plan.objectives] != [metric]:
        raise UserError(f"sweep.pruner: {pruner} compares {metric}, so sweep.objectives must contain {metric} only")
    if pruner == "wilcoxon" and seeds < 2:
        raise UserError("sweep.pruner: wilcoxon compares trials seed by seed, so sweep.seeds must be at least 2")
    if seeds > 1 and any(axis.key == "seed" for axis in plan.space.axes):
        raise UserError("sweep.seeds: the seed is swept already; type sweep.seeds=1")
    if not plan.space.axes and plan.settings["n_trials"] not in (None, 1):
        raise UserError("sweep.n_trials: no key has several values; give one a choice, a range or an interval")
    for axis in plan.space.axes:
        for key, value in axis.conditions:
            if key not in plan.space.fixed and all(key != other.key for other in plan.space.axes):
                raise UserError(f"sweep.space: {key}={value} is a condition, but {key} is neither searched nor given")
    if not plan.queue:
        raise UserError("sweep.n_trials: the space contains no point")


def check_objectives(plan: Plan) -> None:
    """Raise UserError if the trials have different objectives and ``sweep.objectives`` is not given."""
    for label, variant in plan.variants.items():
        metric, mode = variant.objective
        if not plan.settings["objectives"] and {metric: mode} != plan.objectives:
            others = " and ".join(f"{metric} ({mode})" for metric, mode in plan.objectives.items())
            raise UserError(
                f"sweep.objectives: {label} has the objective {metric} ({mode}), other trials have {others}; "
                "name an objective that all of them have"
            )
