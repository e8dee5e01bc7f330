"""Sweeps with fake jobs: everything of a sweep except the training.

``python -m tests.sweep.fake_jobs SECONDS OVERRIDES…``, or a fork of this file, is a worker of such a sweep.
"""

import csv
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from leyden.config import compose as compose_module
from leyden.config.exit_codes import exit_codes
from leyden.sweep.plan import Plan, read_plan
from leyden.sweep.runners import Failure, Job
from leyden.sweep.study import Study
from leyden.sweep.worker import Sweep

DROPOUT = "model.dropout=interval(0.0, 0.9)"

Outcome = Callable[[Job], "float | str | Failure | dict[str, Any]"]


def make_plan(*arguments: str) -> Plan:
    """Return the plan of ``python train.py -m <arguments>``."""

    def composed(overrides: Any) -> DictConfig:
        cfg = compose_module.compose_raw(overrides)
        HydraConfig.instance().set_config(cfg)
        return cfg

    with initialize_config_dir(str(compose_module.CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
    return read_plan(arguments, loader, composed)


class FakeJobs:
    """A runner of fake jobs.

    Args:
        outcome: returns the objective of a job, the fields of its report, or the reason of its failure (a text).
        slots: jobs at the same time.
        seconds: duration of a job.
    """

    def __init__(self, outcome: Outcome, slots: int = 1, seconds: float = 0.0) -> None:
        self.outcome, self.slots, self.seconds = outcome, slots, seconds
        self.active: dict[int, tuple[Job, float]] = {}
        self.started: list[Job] = []

    def capacity(self) -> int:
        return self.slots - len(self.active)

    def running(self) -> list[Job]:
        return [job for job, _ in self.active.values()]

    def start(self, job: Job) -> None:
        job.folder.mkdir(parents=True, exist_ok=True)
        with (job.folder / "starts").open("a") as file:
            file.write(f"{os.getpid()}\n")
        self.active[job.number] = (job, time.monotonic())
        self.started.append(job)

    def ended(self) -> list[tuple[Job, Failure | None]]:
        done = [job for job, began in self.active.values() if time.monotonic() >= began + self.seconds]
        for job in done:
            del self.active[job.number]
        return [(job, self.report(job)) for job in done]

    def report(self, job: Job) -> Failure | None:
        """Write the report of a job that has ended; or return its failure."""
        outcome = self.outcome(job)
        if isinstance(outcome, Failure):
            return outcome
        if isinstance(outcome, str):
            return Failure(outcome)
        facts = outcome if isinstance(outcome, dict) else {"best": outcome}
        report = {
            "state": facts.get("state", "finished"),
            "objective": {"metric": "val/acc", "mode": "max", "best": facts.get("best")},
            "metrics": facts.get("metrics", {}),
            "parameters": facts.get("parameters", 0),
            "epochs": 1,
        }
        (job.folder / "report.json").write_text(json.dumps(report))
        return None

    def stop(self) -> None:
        self.active.clear()


def sweep(outcome: Outcome, *arguments: str, slots: int = 1) -> FakeJobs:
    """Run a sweep of fake jobs to its end."""
    jobs = FakeJobs(outcome, slots)
    Sweep(make_plan(*arguments), jobs, "").run()
    return jobs


def values(job: Job) -> dict[str, str]:
    """Return the overrides of a job: key → text."""
    return dict(override.split("=", 1) for override in job.overrides)


def quadratic(job: Job) -> float:
    """Return an objective with its maximum at a dropout of 0.3."""
    return 1 - (float(values(job).get("model.dropout", 0.0)) - 0.3) ** 2


def rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of trials.csv in a sweep's folder."""
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def folder(logs: Path) -> Path:
    """Return the folder of the only sweep in `logs`."""
    (found,) = (logs / "sweeps").iterdir()
    return found


def overrides(jobs: FakeJobs, base: int) -> list[str]:
    """Return the overrides of each started job, without the first `base` ones."""
    return [" ".join(job.overrides[base:]) for job in jobs.started]


def kill(worker: Study) -> None:
    """Free the locks of a worker, as the kernel does when its process is killed."""
    for claimed in worker.claimed.values():
        claimed.lock.file.close()


if __name__ == "__main__":
    with exit_codes():
        Sweep(make_plan(*sys.argv[2:]), FakeJobs(quadratic, seconds=float(sys.argv[1])), "").run()
