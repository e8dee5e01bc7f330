"""Optuna's samplers and pruners by their names in ``sweep.sampler`` and ``sweep.pruner``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from leyden.errors import UserError

if TYPE_CHECKING:
    import optuna


def make_sampler(name: str, arguments: Mapping[str, Any], seed: int) -> "optuna.samplers.BaseSampler":
    """Return Optuna's sampler with the given name.

    Args:
        name: one of `leyden.sweep.settings.SAMPLERS`.
        arguments: arguments of Optuna's class.
        seed: seed of the sampler.

    Raises:
        UserError: Optuna's class does not accept `arguments`.
    """
    from optuna import samplers

    classes: dict[str, Any] = {
        "tpe": samplers.TPESampler,
        "gp": samplers.GPSampler,
        "cmaes": samplers.CmaEsSampler,
        "nsgaii": samplers.NSGAIISampler,
        "qmc": samplers.QMCSampler,
        "random": samplers.RandomSampler,
        "brute_force": samplers.RandomSampler,  # is never asked, because every combination is enqueued
    }
    defaults: dict[str, Any] = {"warn_independent_sampling": False} if name in ("gp", "cmaes", "qmc") else {}
    if name == "qmc":
        defaults |= {"warn_asynchronous_seeding": False, "scramble": True}
    try:
        return classes[name](seed=seed, **{**defaults, **arguments})  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise UserError(f"sweep.sampler_args: {error}") from error


def make_pruner(name: str, arguments: Mapping[str, Any], max_epochs: int) -> "optuna.pruners.BasePruner":
    """Return Optuna's pruner with the given name.

    Args:
        name: one of `leyden.sweep.settings.PRUNERS`.
        arguments: arguments of Optuna's class.
        max_epochs: length of a full training.

    Raises:
        UserError: Optuna's class does not accept `arguments`.
    """
    from optuna import pruners

    classes: dict[str, Any] = {
        "none": pruners.NopPruner,
        "median": pruners.MedianPruner,
        "hyperband": pruners.HyperbandPruner,
        "asha": pruners.SuccessiveHalvingPruner,
        "wilcoxon": pruners.WilcoxonPruner,
    }
    if name == "hyperband":
        arguments = {"max_resource": max_epochs, **arguments}
    if name == "asha":
        arguments = {"min_resource": 1, **arguments}
    try:
        return classes[name](**arguments)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise UserError(f"sweep.pruner_args: {error}") from error
