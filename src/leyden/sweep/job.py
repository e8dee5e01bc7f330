"""What a job of a sweep is told by its environment: its folder, and which trial it belongs to. Imports no torch."""

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import Trial

VARIABLE = "LEYDEN_JOB"


@dataclass(frozen=True)
class Pruning:
    """Where intermediate values go, and who judges them."""

    storage: str
    study: str
    number: int
    pruner: str
    arguments: Mapping[str, Any]
    max_epochs: int

    def trial(self) -> "Trial":
        """The trial that this job belongs to."""
        import optuna

        from leyden.sweep.samplers import make_pruner
        from leyden.sweep.storage import open_storage

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        pruner = make_pruner(self.pruner, self.arguments, self.max_epochs)
        study = optuna.load_study(study_name=self.study, storage=open_storage(self.storage), pruner=pruner)
        return optuna.trial.Trial(study, study.get_trials(deepcopy=False)[self.number]._trial_id)


@dataclass(frozen=True)
class JobSpec:
    """A job's.

    Args:
        folder: its run folder; what is in it is gone on with.
        parent: the process without which it ends, None where it runs on another machine.
        pruning: None where nothing is pruned.
    """

    folder: str
    parent: int | None
    pruning: Pruning | None

    def write(self) -> str:
        return json.dumps(asdict(self))


def read_job_spec() -> JobSpec | None:
    """Of this process, None if it is no job of a sweep."""
    if VARIABLE not in os.environ:
        return None
    values = json.loads(os.environ[VARIABLE])
    pruning = values.pop("pruning")
    return JobSpec(**values, pruning=Pruning(**pruning) if pruning else None)


def end_with(parent: int) -> None:
    """From now on, end when the process `parent` is gone, also by kill -9, instead of working on for nobody."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
