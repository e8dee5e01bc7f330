"""Leyden's sweeper and launcher for Hydra.

Hydra imports this file at every start. Therefore it imports neither Optuna nor torch.
"""

import sys
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
    """``hydra/sweeper=optuna``. Its settings are the keys of ``sweep``."""

    _target_: str = "hydra_plugins.leyden.plugins.OptunaSweeper"


@dataclass
class SubprocessLauncherConf:
    """``hydra/launcher=subprocess``"""

    _target_: str = "hydra_plugins.leyden.plugins.SubprocessLauncher"
    n_jobs: int | None = None  # jobs at the same time; null for one per GPU, or one if there is no GPU
    warm: bool = True  # fork the jobs from a process that has imported torch; false: a new interpreter for each


for group, node in (("sweeper", OptunaSweeperConf), ("launcher", SubprocessLauncherConf)):
    ConfigStore.instance().store(
        group=f"hydra/{group}",
        name={"sweeper": "optuna", "launcher": "subprocess"}[group],
        node=node,
        provider="leyden",
    )


class SubprocessLauncher(Launcher):
    """Runs the jobs as processes of this machine. The sweeper starts a job as soon as another has ended.

    Args:
        n_jobs: number of jobs that run at the same time.
        warm: whether the jobs are forked from a process that has imported torch, where this is possible.
    """

    def __init__(self, n_jobs: int | None, warm: bool) -> None:
        self.n_jobs, self.warm = n_jobs, warm

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Do nothing, because the sweeper starts the jobs."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        raise HydraException("hydra/launcher=subprocess works only with hydra/sweeper=optuna")


def check_platform(platform: str) -> None:
    """Raise UserError on Windows, which has neither the file locks nor the process groups that sweeps use."""
    if platform == "win32":
        from leyden.errors import UserError

        raise UserError("-m: sweeps need Linux or macOS. On Windows use single runs or the Windows Subsystem for Linux")


class OptunaSweeper(Sweeper):
    """Runs grids and searches, see `leyden.sweep`."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        check_platform(sys.platform)
        from leyden.sweep.command import run

        assert self.config is not None
        assert self.hydra_context is not None
        return run(arguments, self.config, self.hydra_context, self.task_function)
