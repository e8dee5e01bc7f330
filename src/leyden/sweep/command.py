"""From ``python train.py -m …`` to a sweep: its plan from Hydra's config, its jobs from Hydra's launcher."""

from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.leyden.plugins import SubprocessLauncher
from leyden.errors import UserError
from leyden.sweep.batches import Batches
from leyden.sweep.plan import Plan
from leyden.sweep.planning import read_plan
from leyden.sweep.runners import Processes, threads
from leyden.sweep.worker import Runner, Sweep


def run(arguments: list[str], config: DictConfig, context: HydraContext, task: TaskFunction) -> None:
    """Sweep. Raises what `read_plan` and `Sweep.run` raise."""

    def compose(overrides: Sequence[str]) -> DictConfig:
        composed = context.config_loader.load_sweep_config(config, list(overrides))
        HydraConfig.instance().set_config(composed)
        return composed

    plan = read_plan(arguments, context.config_loader, compose)
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    runner, environment = make_runner(launcher, plan)
    Sweep(plan, runner, environment).run()


def make_runner(launcher: Launcher, plan: Plan) -> tuple[Runner, str]:
    """Where jobs run, and what their environment has, as a shell writes it before a command."""
    if not isinstance(launcher, SubprocessLauncher):
        return Batches(launcher, plan.settings["batch"]), ""
    n_jobs, trainer = launcher.n_jobs, plan.config.trainer
    if n_jobs is not None and n_jobs < 1:
        raise UserError(f"hydra.launcher.n_jobs: got {n_jobs}, expected a whole number from 1")
    devices = trainer.devices if isinstance(trainer.devices, int) and trainer.devices > 0 else 1
    processes = Processes(n_jobs, devices, uses_gpu=trainer.accelerator in ("auto", "gpu", "cuda"))
    return processes, threads(processes.slots[0].environment)
