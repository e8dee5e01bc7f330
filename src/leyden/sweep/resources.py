"""The GPUs and cores of this machine, divided among the jobs that run at the same time."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence


def gpus() -> list[str]:
    """Return the CUDA devices that this process may use, by their names in CUDA_VISIBLE_DEVICES."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip() not in ("", "-1")]
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []
    return [str(index) for index, line in enumerate(found.splitlines()) if line.startswith("GPU")]


def cores() -> int:
    """Return the number of cores that this process may use."""
    affinity: Iterable[int] = os.sched_getaffinity(0) if sys.platform == "linux" else range(os.cpu_count() or 1)
    return len(list(affinity))


def divide(gpus: Sequence[str], devices: int, index: int, n_jobs: int) -> dict[str, str]:
    """Return the environment variables that give job `index` of `n_jobs` its own GPUs, or its fraction of the cores.

    Args:
        gpus: the names of the GPUs; empty if the jobs use none.
        devices: devices of each job.
        index: from 0 to `n_jobs` - 1.
        n_jobs: jobs at the same time.
    """
    if gpus:
        own = [gpus[(index * devices + offset) % len(gpus)] for offset in range(devices)]
        return {"CUDA_VISIBLE_DEVICES": ",".join(own)}
    if n_jobs * devices == 1 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, cores() // (n_jobs * devices)))}


def threads_prefix(environment: Mapping[str, str]) -> str:
    """Return what a shell command starts with in order to use as many threads as a job with this environment."""
    merged = {**os.environ, **environment}
    return f"OMP_NUM_THREADS={merged['OMP_NUM_THREADS']} " if "OMP_NUM_THREADS" in merged else ""
