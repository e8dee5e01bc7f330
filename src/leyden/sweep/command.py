"""The start of a sweep: read the plan from the command line, choose the runner from Hydra's launcher, and work."""

from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig

from hydra_plugins.leyden.plugins import SubprocessLauncher
from leyden.errors import UserError
from leyden.sweep import forking
from leyden.sweep.plan import Plan, read_plan
from leyden.sweep.resources import threads_prefix
from leyden.sweep.runners import LauncherRunner, ProcessRunner, Runner
from leyden.sweep.storage import storage_errors
from leyden.sweep.worker import Sweep


def run(arguments: list[str], config: DictConfig, context: HydraContext, task: TaskFunction) -> None:
    """Run a sweep.

    Args:
        arguments: the overrides of the command line.
        config: the config without them.
        context: Hydra's loaders.
        task: the function that runs one job.

    Raises:
        what `read_plan` and `Sweep.run` raise.
    """

    def compose(overrides: Sequence[str]) -> DictConfig:
        composed = context.config_loader.load_sweep_config(config, list(overrides))
        HydraConfig.instance().set_config(composed)
        return composed

    plan = read_plan(arguments, context.config_loader, compose)
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    runner, environment = make_runner(launcher, plan)
    with storage_errors(plan.settings["storage"]):
        Sweep(plan, runner, environment).run()


def make_runner(launcher: Launcher, plan: Plan) -> tuple[Runner, str]:
    """Return the runner of the jobs, and the prefix that gives a shell command the environment of a job."""
    if not isinstance(launcher, SubprocessLauncher):
        return LauncherRunner(launcher, plan.settings["batch"]), ""
    n_jobs, trainer = launcher.n_jobs, plan.config.trainer
    if n_jobs is not None and n_jobs < 1:
        raise UserError(f"hydra.launcher.n_jobs: got {n_jobs}, expected a whole number from 1")
    uses_gpu = trainer.accelerator in ("auto", "gpu", "cuda")
    runner = ProcessRunner(n_jobs, trainer.devices, uses_gpu, launcher.warm and can_fork(trainer))
    return runner, threads_prefix(runner.slots[0].environment)


def can_fork(trainer: DictConfig) -> bool:
    """Whether the jobs can be forked processes. DDP starts new interpreters itself."""
    one_process = trainer.devices == 1 or (isinstance(trainer.devices, ListConfig) and len(trainer.devices) == 1)
    return forking.AVAILABLE and one_process and trainer.num_nodes == 1
