"""Runs jobs as processes of their own, `python train.py <overrides>`, each with its share of the machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from leyden.config.compose import CONF
from leyden.errors import UserError
from leyden.sweep.job import VARIABLE, JobSpec, Pruning

OUTPUT = "output.log"
GRACE = 60  # seconds that a job has to save its checkpoint when the sweep is stopped
DIVERGED = 3


@dataclass(frozen=True)
class Job:
    """A run of a trial.

    Args:
        number: of the trial.
        overrides: all that the run needs.
        folder: its run folder.
        pruning: where it reports; None if it does not.
        lock: of its trial, an open file that its process inherits.
    """

    number: int
    overrides: tuple[str, ...]
    folder: Path
    pruning: Pruning | None
    lock: IO[str]

    def ticket(self, parent: int | None) -> str:
        return JobSpec(str(self.folder), parent, self.pruning).write()


@dataclass
class Slot:
    """A share of the machine, and what runs on it."""

    environment: dict[str, str]
    job: Job | None = None
    process: "subprocess.Popen[bytes] | None" = field(default=None)


class Processes:
    """Jobs of this machine.

    Args:
        n_jobs: at once; None for one per GPU, or one.
        devices: that each needs.
        uses_gpu: whether GPUs are wanted.
    """

    def __init__(self, n_jobs: int | None, devices: int, uses_gpu: bool) -> None:
        found = gpus() if uses_gpu else []
        if found and len(found) < devices:
            raise UserError(f"trainer.devices: a trial wants {devices}, there are {len(found)}")
        fitting = max(1, len(found) // devices)
        self.slots = [Slot(share(found, devices, index, n_jobs or fitting)) for index in range(n_jobs or fitting)]

    def capacity(self) -> int:
        """How many more jobs can start now."""
        return sum(slot.process is None for slot in self.slots)

    def running(self) -> list[Job]:
        return [slot.job for slot in self.slots if slot.job]

    def start(self, job: Job) -> None:
        slot = next(slot for slot in self.slots if slot.process is None)
        job.folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **slot.environment, VARIABLE: job.ticket(os.getpid())}
        with (job.folder / OUTPUT).open("ab") as output:
            slot.process = subprocess.Popen(
                [sys.executable, str(CONF.parent / "train.py"), *job.overrides],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the sweep, which then asks its jobs to stop
                pass_fds=(job.lock.fileno(),),
            )
        slot.job = job

    def ended(self) -> list[tuple[Job, str | None]]:
        """The jobs that ended since the last call, each with what went wrong or None."""
        done = []
        for slot in self.slots:
            if slot.job and slot.process and slot.process.poll() is not None:
                kill(slot.process)  # what it started and left behind
                done.append((slot.job, failure(slot.job.folder, slot.process.returncode)))
                slot.job = slot.process = None
        return done

    def stop(self) -> None:
        """Ask all to save and end; kill those that do not."""
        processes = [slot.process for slot in self.slots if slot.process]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + GRACE
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                kill(process)
                process.wait()
        for slot in self.slots:
            slot.job = slot.process = None


def kill(process: "subprocess.Popen[bytes]") -> None:
    """End `process` and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # all are gone, which is the usual case


def failure(folder: Path, code: int) -> str | None:
    """What went wrong in a job that ended with `code`, in a line."""
    if code == 0:
        return None
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = [line for line in read_output(folder).splitlines() if line.strip()]
    said = lines[-1].removeprefix("error: ").strip() if lines else "no output"
    return f"diverged: {said}" if code == DIVERGED else said


def read_output(folder: Path) -> str:
    path = folder / OUTPUT
    return path.read_text(errors="replace") if path.exists() else ""


def gpus() -> list[str]:
    """The CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip() not in ("", "-1")]
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []
    return [str(index) for index, line in enumerate(found.splitlines()) if line.startswith("GPU")]


def share(gpus: Sequence[str], devices: int, index: int, n_jobs: int) -> dict[str, str]:
    """The environment of slot `index` of `n_jobs`: GPUs of its own, or its part of the cores."""
    if gpus:
        mine = [gpus[(index * devices + offset) % len(gpus)] for offset in range(devices)]
        return {"CUDA_VISIBLE_DEVICES": ",".join(mine)}
    if n_jobs * devices == 1 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, cores() // (n_jobs * devices)))}


def cores() -> int:
    """That this process may use."""
    affinity: Iterable[int] = os.sched_getaffinity(0) if sys.platform == "linux" else range(os.cpu_count() or 1)
    return len(list(affinity))


def threads(environment: Mapping[str, str]) -> str:
    """What stands before a command that is to compute as a job with `environment` did."""
    merged = {**os.environ, **environment}
    return f"OMP_NUM_THREADS={merged['OMP_NUM_THREADS']} " if "OMP_NUM_THREADS" in merged else ""
