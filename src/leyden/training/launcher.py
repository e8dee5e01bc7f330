"""One run folder for all processes of a run, with any launcher.

Lightning starts the other processes itself: they inherit the folder in an environment variable. torchrun and srun
start all processes at once, also on other machines: then rank 0 sends them the path of the folder over the network.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from leyden.errors import UserError
from leyden.records.processes import is_first_process
from leyden.records.run_folder import FOLDER_VARIABLE

TIMEOUT = timedelta(seconds=120)  # until all processes have started

_calls = count()  # of `shared_folder`: a script may start several runs


def shared_folder(choose: Callable[[], Path]) -> Path:
    """Return the run folder that rank 0 chooses, on every process.

    Args:
        choose: returns the path of a new run folder.

    Raises:
        UserError: this process is not rank 0, and there is no way to learn what rank 0 has chosen.
    """
    environment = external_launcher()
    if environment is None:
        if is_first_process():
            return choose()
        if FOLDER_VARIABLE in os.environ:
            return Path(os.environ[FOLDER_VARIABLE])
        raise UserError(f"{FOLDER_VARIABLE}: must name a new folder if another launcher starts the processes")
    store, key = _store(), f"leyden/folder/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{next(_calls)}"
    if environment.global_rank() == 0:
        folder = choose()
        store.set(key, str(folder))
        return folder
    return Path(store.get(key).decode())  # waits for rank 0


def external_launcher() -> ClusterEnvironment | None:
    """Return the environment of torchrun or srun, or None if neither of them started this process."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if SLURMEnvironment.detect() and int(os.environ.get("SLURM_NTASKS", 1)) > 1:
        return SLURMEnvironment()
    return None


@cache  # rank 0 must keep it until the slowest process has read it, which nobody tells it
def _store() -> TCPStore:
    """Return a store that all processes can reach: that of torchrun, otherwise a new one at the next port."""
    environment = external_launcher()
    assert environment is not None
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return TCPStore(environment.main_address, environment.main_port, is_master=False, timeout=TIMEOUT)
    is_master = environment.global_rank() == 0
    return TCPStore(
        environment.main_address, environment.main_port + 1, environment.world_size(), is_master=is_master,
        timeout=TIMEOUT, wait_for_workers=False,
    )  # fmt: skip
