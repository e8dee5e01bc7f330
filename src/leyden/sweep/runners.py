"""Run jobs: as processes of this machine, or in batches by another launcher of Hydra."""

import os
import signal
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from leyden.config.compose import CONF
from leyden.config.quoting import quoted
from leyden.errors import DivergedError, StoppedError
from leyden.sweep.forking import GRACE, ForkServer
from leyden.sweep.job import VARIABLE, JobSpec, Pruning
from leyden.sweep.new_process import NewProcess
from leyden.sweep.resources import gpus, job_environments

OUTPUT = "output.log"

# Signals that come from outside: from a user, the scheduler of a cluster, or the kernel if the memory is full.
EXTERNAL_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Failure:
    """Why a job failed.

    Args:
        reason: the reason in one line.
        killed: whether a signal from outside ended it, so that it can be started again.
    """

    reason: str
    killed: bool = False


@dataclass(frozen=True)
class Job:
    """A run of a trial.

    Args:
        number: number of the trial.
        overrides: all overrides of the run.
        folder: the run folder.
        pruning: None if the run is not pruned.
        lock: the open lock file of the trial, which the job's process inherits.
    """

    number: int
    overrides: tuple[str, ...]
    folder: Path
    pruning: Pruning | None
    lock: IO[str]

    def spec(self, parent: int | None) -> str:
        """Return the `JobSpec` as text; `parent` is the process that starts the job, on the same machine."""
        return JobSpec(str(self.folder), parent, self.pruning).write()


class Runner(Protocol):
    """Runs jobs."""

    def capacity(self) -> int:
        """Return how many jobs can be started now."""

    def running(self) -> list[Job]:
        """Return the jobs that have been started and have not ended."""

    def start(self, job: Job) -> None:
        """Start a job."""

    def ended(self) -> list[tuple[Job, Failure | None]]:
        """Return the jobs that ended since the last call, each with its failure or None."""

    def stop(self) -> None:
        """Stop all jobs."""


class Process(Protocol):
    """The process of a job."""

    def poll(self) -> int | None: ...

    def wait(self, seconds: float) -> int | None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


@dataclass
class Slot:
    """A fraction of the machine, and the job that runs on it."""

    environment: dict[str, str]
    job: Job | None = None
    process: Process | None = None


class ProcessRunner:
    """Runs each job as a process of this machine: ``python train.py <overrides>``.

    Args:
        n_jobs: number of jobs that run at the same time; None for one per GPU, or one if there is no GPU.
        devices: ``trainer.devices``, see `job_environments`.
        uses_gpu: whether the jobs use GPUs if there are any.
        warm: whether the jobs are forked processes, which have done their imports; see `leyden.sweep.fork_server`.

    Raises:
        UserError: there are fewer GPUs than one job needs.
    """

    def __init__(self, n_jobs: int | None, devices: int | Sequence[int] | str, uses_gpu: bool, warm: bool) -> None:
        environments = job_environments(n_jobs, devices, gpus() if uses_gpu else [])
        self.slots = [Slot(environment) for environment in environments]
        self.warm = warm
        self.server: ForkServer | None = None

    def capacity(self) -> int:
        return sum(slot.process is None for slot in self.slots)

    def running(self) -> list[Job]:
        return [slot.job for slot in self.slots if slot.job]

    def start(self, job: Job) -> None:
        slot = next(slot for slot in self.slots if slot.process is None)
        job.folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **slot.environment}
        argv, files = [str(CONF.parent / "train.py"), *job.overrides], [job.lock.fileno()]
        with (job.folder / OUTPUT).open("ab") as output:
            if self.warm:
                server = self._server(environment)
                environment[VARIABLE] = job.spec(server.process.pid)
                slot.process = server.start(argv, environment, output, files)
            else:
                environment[VARIABLE] = job.spec(os.getpid())
                slot.process = NewProcess(argv, environment, output, files)
        slot.job = job

    def _server(self, environment: Mapping[str, str]) -> ForkServer:
        """Return the fork server. Start it for the first job, and again if it was killed."""
        if self.server and not self.server.alive:
            self.server.close()
        if not self.server or not self.server.alive:
            self.server = ForkServer(environment)
        return self.server

    def ended(self) -> list[tuple[Job, Failure | None]]:
        done = []
        for slot in self.slots:
            if slot.job and slot.process and (code := slot.process.poll()) is not None:
                done.append((slot.job, process_failure(slot.job.folder, code)))
                slot.job = slot.process = None
        return done

    def stop(self) -> None:
        """Ask all jobs to save a checkpoint and end; kill those that take longer than `GRACE` seconds."""
        processes = [slot.process for slot in self.slots if slot.process]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + GRACE
        for process in processes:
            if process.wait(max(0.1, deadline - time.monotonic())) is None:
                process.kill()
                process.wait(GRACE)
        for slot in self.slots:
            slot.job = slot.process = None
        if self.server:
            self.server.close()


class LauncherRunner:
    """Runs jobs with another launcher of Hydra's, such as submitit for Slurm.

    Such a launcher starts a batch of jobs and waits until all of them have ended.

    Args:
        launcher: Hydra's launcher.
        size: jobs per batch.
    """

    def __init__(self, launcher: Launcher, size: int) -> None:
        self.launcher, self.size = launcher, size
        self.jobs: list[Job] = []
        self.launched = 0

    def capacity(self) -> int:
        return self.size - len(self.jobs)

    def running(self) -> list[Job]:
        return self.jobs

    def start(self, job: Job) -> None:
        """Add a job to the next batch."""
        self.jobs.append(job)

    def ended(self) -> list[tuple[Job, Failure | None]]:
        """Run the batch, and return its jobs, each with its failure or None."""
        jobs, self.jobs = self.jobs, []
        if not jobs:
            return []
        overrides = [[*job.overrides, f"+hydra.job.env_set.{VARIABLE}={quoted(job.spec(None))}"] for job in jobs]
        results = self.launcher.launch(overrides, initial_job_idx=self.launched)
        self.launched += len(jobs)
        return [(job, launcher_failure(job, result)) for job, result in zip(jobs, results, strict=True)]

    def stop(self) -> None:
        """Do nothing: `ended` waits for all jobs of a batch, so no job is running now."""


def process_failure(folder: Path, code: int) -> Failure | None:
    """Return the failure of a job with an exit code (negative: killed by this signal), or None if it is 0."""
    if code == 0:
        return None
    signum = -code if code < 0 else code - 128  # a job that saves a checkpoint first exits with 128 + signal
    if signum in EXTERNAL_SIGNALS:
        return Failure(f"killed by {signal.Signals(signum).name}", killed=True)
    if code < 0:
        return Failure(f"crashed with {signal.Signals(signum).name}")
    lines = [line for line in read_output(folder).splitlines() if line.strip()]
    reason = lines[-1].removeprefix("error: ").strip() if lines else "no output"
    return Failure(f"diverged: {reason}" if code == DivergedError.exit_code else reason)


def launcher_failure(job: Job, result: JobReturn) -> Failure | None:
    """Return the failure of a job, or None. The traceback is written to the job's folder."""
    try:
        _ = result.return_value
    except Exception as error:  # whatever the job raised, in another process
        job.folder.mkdir(parents=True, exist_ok=True)
        with (job.folder / OUTPUT).open("a") as output:
            output.writelines(traceback.format_exception(error))
        reason = " ".join(str(error).split()) or type(error).__name__
        diverged = "diverged: " if isinstance(error, DivergedError) else ""
        return Failure(f"{diverged}{reason}", killed=isinstance(error, StoppedError))
    return None


def read_output(folder: Path) -> str:
    """Return what a job has printed so far."""
    path = folder / OUTPUT
    return path.read_text(errors="replace") if path.exists() else ""
