"""Optuna's samplers and pruners by the names that ``sweep.sampler`` and ``sweep.pruner`` have for them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from leyden.errors import UserError

if TYPE_CHECKING:
    import optuna


def make_sampler(name: str, arguments: Mapping[str, Any], seed: int) -> "optuna.samplers.BaseSampler":
    """Optuna's sampler. Raises UserError if it does not take `arguments`."""
    from optuna import samplers

    classes: dict[str, Any] = {
        "tpe": samplers.TPESampler,
        "gp": samplers.GPSampler,
        "cmaes": samplers.CmaEsSampler,
        "nsgaii": samplers.NSGAIISampler,
        "qmc": samplers.QMCSampler,
        "random": samplers.RandomSampler,
        "brute_force": samplers.RandomSampler,  # asked for nothing: every combination is queued
    }
    quiet = {"warn_independent_sampling": False} if name in ("gp", "cmaes", "qmc") else {}
    if name == "qmc":
        # The points of a sequence must be those of one sequence, whoever draws them.
        quiet |= {"warn_asynchronous_seeding": False}
        arguments = {"scramble": True, **arguments}
    try:
        return classes[name](seed=seed, **quiet, **arguments)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise UserError(f"sweep.sampler_args: {error}") from error


def make_pruner(name: str, arguments: Mapping[str, Any], max_epochs: int) -> "optuna.pruners.BasePruner":
    """Optuna's pruner. Raises UserError if it does not take `arguments`."""
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
