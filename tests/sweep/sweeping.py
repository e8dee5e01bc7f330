"""Sweeps whose jobs are made up: all of a sweep but the training.

``python -m tests.sweeping SECONDS OVERRIDES…`` is a worker of such a sweep, in a process of its own.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from leyden.config.compose import CONF
from leyden.sweep.plan import Plan
from leyden.sweep.planning import read_plan
from leyden.sweep.runners import Job
from leyden.sweep.worker import Sweep

Outcome = Callable[[Job], "float | str | dict[str, Any]"]


def make_plan(*arguments: str) -> Plan:
    """The plan of ``python train.py -m <arguments>``."""

    def composed(overrides: Any) -> DictConfig:
        cfg = compose("config", list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        return cfg

    with initialize_config_dir(str(CONF), version_base="1.3"):
        return read_plan(arguments, GlobalHydra.instance().config_loader(), composed)


class FakeJobs:
    """A runner whose jobs take `seconds`, and end with what `outcome` makes of them: a value, or why they failed."""

    def __init__(self, outcome: Outcome, slots: int = 1, seconds: float = 0.0) -> None:
        self.outcome, self.slots, self.seconds = outcome, slots, seconds
        self.under_way: dict[int, tuple[Job, float]] = {}
        self.started: list[Job] = []

    def capacity(self) -> int:
        return self.slots - len(self.under_way)

    def running(self) -> list[Job]:
        return [job for job, _ in self.under_way.values()]

    def start(self, job: Job) -> None:
        job.folder.mkdir(parents=True, exist_ok=True)
        with (job.folder / "starts").open("a") as file:
            file.write(f"{os.getpid()}\n")
        self.under_way[job.number] = (job, time.monotonic())
        self.started.append(job)

    def ended(self) -> list[tuple[Job, str | None]]:
        done = [job for job, began in self.under_way.values() if time.monotonic() >= began + self.seconds]
        for job in done:
            del self.under_way[job.number]
        return [(job, self.report(job)) for job in done]

    def report(self, job: Job) -> str | None:
        outcome = self.outcome(job)
        if isinstance(outcome, str):
            return outcome
        facts = outcome if isinstance(outcome, dict) else {"best": outcome}
        report = {
            "state": facts.get("state", "finished"),
            "objective": {"metric": "val/acc", "mode": "max", "best": facts.get("best")},
            "metrics": facts.get("metrics", {}),
            "parameters": facts.get("parameters", 0),
        }
        (job.folder / "report.json").write_text(json.dumps(report))
        return None

    def stop(self) -> None:
        self.under_way.clear()


def sweep(outcome: Outcome, *arguments: str, slots: int = 1) -> FakeJobs:
    """Run a sweep of made-up jobs to its end."""
    jobs = FakeJobs(outcome, slots)
    Sweep(make_plan(*arguments), jobs, "").run()
    return jobs


def values(job: Job) -> dict[str, str]:
    """key → text of a job's overrides."""
    return dict(override.split("=", 1) for override in job.overrides)


def quadratic(job: Job) -> float:
    """Best at a dropout of 0.3."""
    return 1 - (float(values(job).get("model.dropout", 0.0)) - 0.3) ** 2


def rows(folder: Path) -> list[dict[str, str]]:
    """Of a sweep's trials.csv."""
    lines = [line.split(",") for line in (folder / "trials.csv").read_text().splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


if __name__ == "__main__":
    jobs = FakeJobs(quadratic, seconds=float(sys.argv[1]))
    Sweep(make_plan(*sys.argv[2:]), jobs, "").run()
