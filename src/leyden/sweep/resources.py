"""The GPUs and cores of this machine, divided among the jobs that run at the same time."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import takewhile

from leyden.errors import UserError


def gpus() -> list[str]:
    """Return the CUDA devices that this process may use, by their names in CUDA_VISIBLE_DEVICES."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        names = [name.strip() for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]
        return list(takewhile(lambda name: name not in ("", "-1"), names))  # CUDA ignores all after an invalid name
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(index) for index, line in enumerate(found.splitlines()) if line.startswith("GPU")]


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def job_environments(
    n_jobs: int | None, devices: int | Sequence[int] | str, gpus: Sequence[str]
) -> list[dict[str, str]]:
    """Return the environment variables of each job that runs at the same time as the others.

    Args:
        n_jobs: number of jobs; None for one per GPU, or one if no GPU is used.
        devices: ``trainer.devices``. With a number, each job gets GPUs of its own. With a list or ``auto``, all jobs
            use the same GPUs, as a single run would.
        gpus: names of the GPUs that the jobs use; empty if they use none.

    Raises:
        UserError: a job needs a GPU that does not exist.
    """
    if isinstance(devices, int):
        number = needed = devices
    elif isinstance(devices, str):
        number = needed = max(1, len(gpus))
    else:
        number, needed = len(devices), max(devices) + 1
    if gpus and needed > len(gpus):
        raise UserError(f"trainer.devices: got {devices}, but this machine has {len(gpus)} GPUs")
    n_jobs = n_jobs or (max(1, len(gpus) // number) if isinstance(devices, int) else 1)
    own = gpus if isinstance(devices, int) else []
    return [divide(own, number, index, n_jobs) for index in range(n_jobs)]


def divide(gpus: Sequence[str], devices: int, index: int, n_jobs: int) -> dict[str, str]:
    """Return the environment variables that give job `index` of `n_jobs` its own GPUs and its fraction of the cores.

    Args:
        gpus: the names of the GPUs to divide; empty if there are none.
        devices: devices of each job, each with a process of its own.
        index: index of the job, from 0 to `n_jobs` - 1.
        n_jobs: number of jobs that run at the same time.
    """
    environment = {}
    if gpus:
        own = [gpus[(index * devices + offset) % len(gpus)] for offset in range(devices)]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(own)
    if n_jobs * devices > 1 and "OMP_NUM_THREADS" not in os.environ:
        environment["OMP_NUM_THREADS"] = str(max(1, cores() // (n_jobs * devices)))
    return environment


def threads_prefix(environment: Mapping[str, str]) -> str:
    """Return the prefix with which a shell command uses as many threads as a job with this environment."""
    merged = {**os.environ, **environment}
    return f"OMP_NUM_THREADS={merged['OMP_NUM_THREADS']} " if "OMP_NUM_THREADS" in merged else ""
