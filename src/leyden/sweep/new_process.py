"""Start a run in a new interpreter."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO


class NewProcess:
    """A run in a new interpreter. It has the methods of `leyden.sweep.forking.ForkedRun`.

    Args:
        argv: ``train.py`` and its arguments.
        environment: all environment variables of the run.
        output: the file for stdout and stderr.
        files: descriptors that the run inherits.
    """

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], output: IO[bytes], files: Sequence[int] = ()
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C stops the sweep, which then stops its jobs
            pass_fds=files,
        )

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs. Kill what it started and did not end."""
        code = self.process.poll()
        if code is not None:
            self.kill()
        return code

    def wait(self, seconds: float) -> int | None:
        """Wait up to `seconds` for its end, and return what `poll` returns."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return self.poll()

    def terminate(self) -> None:
        """Ask it to save a checkpoint and end."""
        self.process.terminate()

    def kill(self) -> None:
        """Kill it, with all processes that it has started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # all have ended already, which is the usual case
