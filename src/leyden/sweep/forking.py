"""Start runs as forked processes of a `fork_server`, which has done their imports already."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from select import select
from typing import IO

from leyden.sweep.fork_server import MESSAGE_BYTES

AVAILABLE = sys.platform == "linux"  # libraries of macOS crash in a forked process
GRACE = 60  # seconds that a run has to save its checkpoint when it is stopped
NO_CUDA = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}  # the imports may ask whether there is a GPU, without using it


class ForkServer:
    """A fork server. It ends with this process, and its runs end with it.

    Args:
        environment: environment variables of the server. The imports read some of them, such as ``OMP_NUM_THREADS``,
            so these must be the same for all runs.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "leyden.sweep.fork_server", str(theirs.fileno())],
                env={**environment, **NO_CUDA},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C stops the client, which then stops its runs
                pass_fds=(theirs.fileno(),),
            )
        self.runs: dict[int, ForkedRun] = {}
        self.number = 0
        self.alive = True  # False: it was killed from outside

    def start(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        output: IO[bytes],
        files: Sequence[int] = (),
        errors: IO[bytes] | None = None,
        folder: Path | None = None,
    ) -> "ForkedRun":
        """Start a run. The first ones wait until the server has done its imports.

        Args:
            argv: ``train.py`` and its arguments.
            environment: all environment variables of the run.
            output: the file for stdout and stderr.
            files: descriptors that the run inherits.
            errors: another file for stderr.
            folder: its working directory. None: that of this process.
        """
        self.number += 1
        run = self.runs[self.number] = ForkedRun(self, self.number)
        request = {
            "start": self.number,
            "argv": list(argv),
            "environment": dict(environment),
            "folder": str(folder or Path.cwd()),
        }
        passed = [output.fileno(), (errors or output).fileno(), *files]
        try:
            socket.send_fds(self.channel, [json.dumps(request).encode()], passed)
        except ConnectionError:
            self._lost()
        return run

    def call(self, argv: Sequence[str], environment: Mapping[str, str], output: IO[bytes]) -> int:
        """Start a run, wait for its end and return its exit code. If this is interrupted, the run is stopped first."""
        run = self.start(argv, environment, output)
        try:
            while (code := run.wait(GRACE)) is None:
                continue
        except BaseException:
            run.terminate()
            run.wait(GRACE)
            raise
        return code

    def stop(self, run: "ForkedRun", signum: int) -> None:
        """Send a signal to a run; SIGKILL also to all processes that it has started."""
        try:
            self.channel.send(json.dumps({"stop": run.number, "signal": signum}).encode())
        except ConnectionError:
            self._lost()

    def read(self, seconds: float) -> None:
        """Wait up to `seconds` for messages of the server, and note which runs have ended."""
        while self.runs and select([self.channel], [], [], seconds)[0]:
            try:
                message = self.channel.recv(MESSAGE_BYTES)
            except ConnectionError:
                message = b""
            if not message:
                return self._lost()
            ended = json.loads(message)
            self.runs.pop(ended["ended"]).code = ended["code"]
            seconds = 0

    def _lost(self) -> None:
        """Note that the server was killed from outside. Its runs end by themselves."""
        self.alive = False
        for run in self.runs.values():
            run.code = -signal.SIGKILL
        self.runs = {}

    def close(self) -> None:
        """End the server. Runs that have not ended are killed."""
        for run in list(self.runs.values()):
            run.kill()
        self.channel.close()
        self.process.wait()

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class ForkedRun:
    """A run that a fork server has started.

    Args:
        server: the fork server.
        number: its number there.
    """

    code: int | None = None

    def __init__(self, server: ForkServer, number: int) -> None:
        self.server, self.number = server, number

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        self.server.read(0)
        return self.code

    def wait(self, seconds: float) -> int | None:
        """Wait up to `seconds` for its end, and return what `poll` returns."""
        deadline = time.monotonic() + seconds
        while self.code is None and (left := deadline - time.monotonic()) > 0:
            self.server.read(left)
        return self.code

    def send_signal(self, signum: int) -> None:
        """Send it a signal."""
        self.server.stop(self, signum)

    def terminate(self) -> None:
        """Ask it to save a checkpoint and end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, with all processes that it has started."""
        self.send_signal(signal.SIGKILL)
