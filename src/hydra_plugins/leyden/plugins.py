"""Leyden's sweeper and launcher as Hydra finds them. Hydra imports this at every start: no Optuna, no torch here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class OptunaSweeperConf:
    """``hydra/sweeper=optuna``; what it is to do stands under ``sweep``."""

    _target_: str = "hydra_plugins.leyden.plugins.OptunaSweeper"


@dataclass
class SubprocessLauncherConf:
    """``hydra/launcher=subprocess``"""

    _target_: str = "hydra_plugins.leyden.plugins.SubprocessLauncher"
    n_jobs: int | None = None  # at once; one per GPU, or one, if it is not given


for group, node in (("sweeper", OptunaSweeperConf), ("launcher", SubprocessLauncherConf)):
    ConfigStore.instance().store(
        group=f"hydra/{group}",
        name={"sweeper": "optuna", "launcher": "subprocess"}[group],
        node=node,
        provider="leyden",
    )


class SubprocessLauncher(Launcher):
    """Each job as a process of its own; the sweeper starts them itself, as places become free."""

    def __init__(self, n_jobs: int | None) -> None:
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """It needs nothing of all that."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        raise HydraException("hydra/launcher=subprocess works with hydra/sweeper=optuna only")


class OptunaSweeper(Sweeper):
    """Grids and searches; see `leyden.sweep`."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        from leyden.sweep.command import run

        assert self.config is not None
        assert self.hydra_context is not None
        return run(arguments, self.config, self.hydra_context, self.task_function)
