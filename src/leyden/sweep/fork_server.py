"""A process that imports torch and Leyden once, and then forks a process for each run.

A new interpreter needs seconds for its imports; a forked one has them already. It is as separate as a new one: it has
its own memory, session, environment and output. The server itself uses no GPU, because a forked process could then not
use it. `leyden.sweep.forking` is the client.

Messages are JSON, one per packet, and name a run by a number that the client has chosen:

    {"start": 1, "argv": [...], "environment": {...}, "folder": "..."}
                                together with the files for stdout and stderr, and the files that the run inherits
    {"stop": 1, "signal": 15}
    {"ended": 1, "code": 0}     the answer when the run has ended; negative for a signal

`multiprocessing` has a fork server too. In Python 3.11 its processes skip their exit handlers, and they keep their
server alive when the client is gone.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

MESSAGE_BYTES = 1 << 18  # more than the system sends in one packet, so none is cut off
FILES = 16  # the most that a run inherits

# All that a run imports. Most of it is imported late, by what leyden.run calls.
IMPORTS = (
    "leyden.run",
    "leyden.sweep.pruning",
    "leyden.sweep.samplers",
    "leyden.sweep.storage",
    "rich.progress",
    "rich.table",
    "scipy.stats",
    "sklearn.datasets",
    "torch.utils.tensorboard",
    "torchvision",
)


class Server:
    """Forks a process for each request.

    Args:
        channel: the connection to the client.
    """

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.runs: dict[int, int] = {}  # process → number of the run
        self.wake, self.woken = os.pipe()  # Python writes a byte into it when a process ends
        for end in (self.wake, self.woken):
            os.set_blocking(end, False)

    def serve(self) -> list[str] | None:
        """Answer requests until the client is gone. Returns None then, and its arguments in each forked process."""
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        signal.set_wakeup_fd(self.woken)
        with selectors.DefaultSelector() as selector:
            selector.register(self.channel, selectors.EVENT_READ)
            selector.register(self.wake, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self.wake in ready:
                    os.read(self.wake, 1 << 12)
                    self.report_ended()
                if self.channel in ready:
                    text, files, _, _ = socket.recv_fds(self.channel, MESSAGE_BYTES, FILES)
                    if not text:
                        return None
                    request = json.loads(text)
                    if "stop" in request:
                        self.stop(request["stop"], request["signal"])
                    elif self.fork(request["start"], files):
                        return become(request, files)

    def fork(self, number: int, files: list[int]) -> bool:
        """Fork a process. Returns True in the new one, without the descriptors of the server."""
        process = os.fork()
        if process:
            self.runs[process] = number
            for file in files:
                os.close(file)
            return False
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.channel.close()
        for end in (self.wake, self.woken):
            os.close(end)
        return True

    def stop(self, number: int, signum: int) -> None:
        """Send a signal to a run; SIGKILL also to all processes that it has started."""
        for process in [process for process, run in self.runs.items() if run == number]:
            if signum == signal.SIGKILL:
                kill_all(process)
            else:
                os.kill(process, signum)

    def report_ended(self) -> None:
        """Report which runs have ended. What they started is killed before the system can use the process id again."""
        for process, number in list(self.runs.items()):
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                kill_all(process)
                code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                del self.runs[process]
                self.channel.send(json.dumps({"ended": number, "code": code}).encode())


def kill_all(process: int) -> None:
    """Kill a forked process that has not been waited for yet, and all processes that it has started."""
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:  # it has no session of its own yet, and thus has started nothing
        os.kill(process, signal.SIGKILL)


def become(request: dict[str, Any], files: list[int]) -> list[str]:
    """Give this process a session, the outputs, folder and environment of its run. Returns its arguments."""
    os.setsid()
    for number, file in zip((1, 2), files, strict=False):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    argv: list[str] = request["argv"]
    return argv


def run(argv: list[str]) -> None:
    """Run a Python file with its arguments, as a new interpreter does. The memory is not freed, which takes seconds."""
    from numpy.random import seed

    code = [1]
    atexit.register(lambda: os._exit(code[0]))  # the exit handlers that are registered from now on run before it
    seed()  # not the random numbers of the other runs
    sys.argv, sys.path[0] = argv, str(Path(argv[0]).parent)
    try:
        runpy.run_path(argv[0], run_name="__main__")
        code[0] = 0
    except SystemExit as error:
        code[0] = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()


def import_all() -> None:
    """Import what the runs need."""
    for name in IMPORTS:
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # a run that needs it imports it again, and reports the error in its output
    gc.collect()
    gc.freeze()  # the collector of a run must not write to, and thereby copy, the memory that all runs share


if __name__ == "__main__":
    import_all()
    if (argv := Server(socket.socket(fileno=int(sys.argv[1]))).serve()) is not None:
        run(argv)
