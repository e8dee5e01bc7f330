"""Helpers for the processes of one run: find out the rank, and end together with the parent process."""

import os
import threading
import time

POLL_SECONDS = 0.5


def is_first_process() -> bool:
    """Return whether this is rank 0 of a run. Lightning, torchrun and srun set different variables for the rank."""
    return all(int(os.environ.get(name, 0)) == 0 for name in ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID"))


def end_with(parent: int) -> None:
    """End this process as soon as its parent process is gone, also after kill -9.

    Without this, the child would continue to work although nobody uses its result.

    Args:
        parent: process id of the parent.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
