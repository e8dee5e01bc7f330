"""Run a sweep whose trials are forked processes: ``forked_sweep.py -m …`` instead of ``train.py -m …``.

The sweep starts each trial with `subprocess.Popen`, and each would import torch again, for 5 s. Here a helper process,
which is forked before the sweep begins, forks the trials instead. Their processes, sessions, locks and files are those
of real trials. Runs inside the fork server only.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import IO, Any

from scripts.torture_lib.forks import TRAIN
from scripts.torture_lib.server import PR_SET_CHILD_SUBREAPER, execute, quick_exit

MESSAGE = 1 << 16


class ForkedPopen:
    """The part of `subprocess.Popen` that a sweep uses."""

    helper: socket.socket

    def __init__(
        self, command: list[str], env: dict[str, str], stdout: IO[bytes], pass_fds: tuple[int, ...], **_: Any
    ) -> None:
        request = json.dumps({"argv": command[1:], "environment": env}).encode()
        socket.send_fds(self.helper, [request], [stdout.fileno(), *pass_fds])
        answer = self.helper.recv(MESSAGE)
        if not answer:
            raise OSError("the helper process is gone")
        self.pid = int(answer)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("trial", timeout)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def serve(connection: socket.socket) -> list[str] | None:
    """Fork a process per request. Returns its arguments in the new process, and None when the sweep is gone."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, MESSAGE, 16)
        if not request:
            return None
        read, write = os.pipe()
        between = os.fork()
        if between == 0:
            # The trial's parent ends at once, so the sweep becomes the trial's parent, as it is with Popen.
            between = os.getpid()
            trial = os.fork()
            if trial:
                os.write(write, str(trial).encode())
                os._exit(0)
            for number in (read, write):
                os.close(number)
            connection.close()
            while os.getppid() == between:  # otherwise the trial would take the end of `between` for that of the sweep
                time.sleep(0.001)
            return become(json.loads(request), descriptors)
        os.waitpid(between, 0)
        os.close(write)
        connection.send(os.read(read, 64))
        for number in (read, *descriptors):
            os.close(number)


def become(request: dict[str, Any], descriptors: list[int]) -> list[str]:
    """Give this process the output and the environment of a trial."""
    os.setsid()
    for number in (1, 2):
        os.dup2(descriptors[0], number)
    os.close(descriptors[0])
    os.environ.clear()
    os.environ.update(request["environment"])
    argv: list[str] = request["argv"]
    return argv


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        argv = serve(theirs)
        if argv is None:
            os._exit(0)
        return quick_exit(argv)
    theirs.close()
    import leyden.sweep.new_process as new_process

    ForkedPopen.helper = ours
    names = {name: getattr(subprocess, name) for name in ("DEVNULL", "STDOUT", "TimeoutExpired")}
    new_process.subprocess = SimpleNamespace(Popen=ForkedPopen, **names)  # type: ignore[assignment,attr-defined]
    execute([TRAIN, *sys.argv[1:]])


if __name__ == "__main__":
    main()
