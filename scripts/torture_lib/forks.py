"""Start cases in forked processes. This is the client of `server.py`."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from scripts.torture_lib import shim

ROOT = Path(__file__).resolve().parents[2]
TRAIN = str(ROOT / "train.py")


@dataclass
class Ended:
    """How a case ended.

    Args:
        code: its exit code, negative for a signal; None if it ran past its time limit and was killed.
        output: stdout and stderr.
    """

    code: int | None
    output: str
    seconds: float


@dataclass
class Case:
    """A case that runs."""

    process: int
    output: Path
    began: float = field(default_factory=time.monotonic)


class Forks:
    """A fork server. Use it in a ``with`` statement.

    Args:
        folder: folder for the outputs of the cases.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0
        folder.mkdir(parents=True, exist_ok=True)
        preload = {} if shim.missing() else shim.preloaded()
        fixed = {
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        }
        python_path = os.pathsep.join([str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.server = subprocess.Popen(
            [sys.executable, "-m", "scripts.torture_lib.server"],
            cwd=ROOT,
            env={**os.environ, **fixed, **preload, "PYTHONPATH": python_path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def __enter__(self) -> "Forks":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()

    def _answer(self) -> Any:
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        if not line:
            raise RuntimeError("the fork server ended")
        return json.loads(line)

    def _ask(self, **request: Any) -> Any:
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return self._answer()

    def start(
        self, argv: list[str], fault: shim.Fault | None = None, cwd: Path = ROOT, memory: int = 0, **environment: str
    ) -> Case:
        """Start a case: a Python file with arguments, or ``-c`` and code.

        Args:
            fault: what happens to the case.
            memory: bytes of address space that it may take in addition to the server's; 0 for no limit.
            environment: environment variables of its process.
        """
        self.number += 1
        output = self.folder / f"{self.number}.txt"
        output.touch()  # a case can be killed before it opens the file
        values = {**environment, **(fault.environment() if fault else {})}
        arguments = {"argv": argv, "output": str(output), "cwd": str(cwd), "environment": values, "memory": memory}
        return Case(self._ask(start=arguments)["process"], output)

    def wait(self, case: Case, seconds: float, kill: bool = True) -> Ended | None:
        """Wait for the end of a case. After `seconds`, kill it, or return None with ``kill=False``."""
        code = self._ask(wait=case.process, seconds=seconds)["code"]
        if code is None and not kill:
            return None
        end(case.process)
        if code is None:
            self._ask(wait=case.process, seconds=30)
        output = case.output.read_text(errors="replace")
        case.output.unlink()
        return Ended(code, output, time.monotonic() - case.began)

    def run(self, argv: list[str], seconds: float = 120, **options: Any) -> Ended:
        """Start a case and wait for its end."""
        ended = self.wait(self.start(argv, **options), seconds)
        assert ended is not None
        return ended

    def train(self, *overrides: str, **options: Any) -> Ended:
        """Run ``python train.py <overrides>`` and wait for its end."""
        return self.run([TRAIN, *overrides], **options)


def end(process: int) -> None:
    """Kill a case with all processes of its session."""
    for found in session(process):
        try:
            os.kill(found, signal.SIGKILL)
        except ProcessLookupError:
            continue


def session(leader: int) -> list[int]:
    """The living processes of the session that `leader` leads."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found
