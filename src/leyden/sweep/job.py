"""A job of a sweep: one run, in a process that receives its folder and its trial in the environment.

Imports neither torch nor Lightning, because the command line imports this file before it imports anything else.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leyden.records.processes import end_with, is_first_process

if TYPE_CHECKING:
    import optuna
    from omegaconf import DictConfig

VARIABLE = "LEYDEN_JOB"


@dataclass(frozen=True)
class Pruning:
    """The trial that a job reports its metric to, and the pruner that may stop it.

    Args:
        storage: URL of the Optuna storage, see `leyden.sweep.storage.storage_url`.
        study: name of the study.
        number: number of the trial.
        pruner: name of the pruner, see `leyden.sweep.samplers.make_pruner`.
        arguments: arguments of the pruner.
        max_epochs: length of a full training.
    """

    storage: str
    study: str
    number: int
    pruner: str
    arguments: Mapping[str, Any]
    max_epochs: int

    def trial(self) -> "optuna.trial.Trial":
        """Return Optuna's trial of this job, for reporting."""
        import optuna

        from leyden.sweep.samplers import make_pruner
        from leyden.sweep.storage import open_storage, running_trial

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        pruner = make_pruner(self.pruner, self.arguments, self.max_epochs)
        study = optuna.load_study(study_name=self.study, storage=open_storage(self.storage), pruner=pruner)
        return running_trial(study, self.number)


@dataclass(frozen=True)
class JobSpec:
    """What a job receives from its sweep.

    Args:
        folder: the run folder. If it contains a checkpoint, the run is resumed.
        parent: the job ends when this process ends; None if the job runs on another machine.
        pruning: None if the job is not pruned.
    """

    folder: str
    parent: int | None
    pruning: Pruning | None

    def write(self) -> str:
        """Return the text for the environment variable `VARIABLE`."""
        return json.dumps(asdict(self))


def read_job_spec() -> JobSpec | None:
    """Return the job of this process, or None if it is not a job of a sweep."""
    if VARIABLE not in os.environ:
        return None
    values = json.loads(os.environ[VARIABLE])
    pruning = values.pop("pruning")
    return JobSpec(**values, pruning=Pruning(**pruning) if pruning else None)


def run_job(cfg: "DictConfig", spec: JobSpec) -> float:
    """Run a job in its folder and return the best value of its objective.

    A job that has a report is not run again. The folder is locked first, because jobs of some launchers survive their
    sweep: the next start of the sweep must wait until such a job has ended.

    Args:
        cfg: the config of the run, see `leyden.config.compose`.
        spec: the job.

    Raises:
        what `leyden.run.run` raises.
    """
    if spec.parent and is_first_process():
        end_with(spec.parent)
    from leyden.records.json_files import read_report
    from leyden.records.run_folder import lock
    from leyden.run import run
    from leyden.sweep.pruning import Pruner

    folder = Path(spec.folder)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    if is_first_process():
        lock(folder, wait=True)
    report = read_report(folder)
    if report:
        return float(report["objective"]["best"])
    return run(cfg, folder=folder, pruner=Pruner(spec.pruning, cfg.objective.metric) if spec.pruning else None)
