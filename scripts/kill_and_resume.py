"""Kill a training process with SIGKILL at random moments, resume it each time, and compare it with an
uninterrupted run.

    python scripts/kill_and_resume.py --kills 10
    python scripts/kill_and_resume.py --kills 10 trainer=ddp trainer.accelerator=cpu

Both runs use dropout, augmentation and a schedule. They must end in the same bits of `last.ckpt` and
`best.ckpt`, the same metrics.csv (except its times), and the same TensorBoard curves without a gap or a step
twice. Exit code 0 if they do.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.torture_lib.same_bits import compare  # noqa: E402

TIMEOUT = 240  # seconds that a run may take; one that hangs is an error, not a wait
RUN = ["data=digits", "data.shift=2", "model.dropout=0.2", "trainer.max_epochs=6", "checkpoint.every_n_steps=7"]


class Process(Protocol):
    """The part of `subprocess.Popen` that is used here."""

    @property
    def returncode(self) -> int | None: ...

    def kill(self) -> None: ...

    def communicate(self, *, timeout: float | None = None) -> tuple[str, str | None]: ...


Start = Callable[[Path, list[str]], tuple[Process, Path]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="how often to kill (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("overrides", nargs="*", help="of the run, as for train.py")
    args = parser.parse_args()
    logs = Path(tempfile.mkdtemp(prefix="leyden-"))
    differences = compare(*kill_and_resume(logs, [*RUN, *args.overrides], args.kills, random.Random(args.seed)))
    for difference in differences:
        print(difference)
    print("different" if differences else "the same bits")
    shutil.rmtree(logs)
    sys.exit(bool(differences))


def kill_and_resume(
    logs: Path, overrides: list[str], kills: int, rng: random.Random, start: Start | None = None
) -> tuple[Path, Path]:
    """Return the folders of an uninterrupted run and of a run that was killed and resumed."""
    start = start or new_interpreter
    process, alone = start(logs / "alone", overrides)
    began = time.perf_counter()
    finish(process)
    seconds = time.perf_counter() - began
    process, killed = start(logs / "killed", overrides)
    for number in range(kills):
        delay = rng.uniform(0, 3 * seconds / kills)
        time.sleep(delay)
        process.kill()
        process.communicate()
        print(f"kill {number + 1} after {delay:.2f} s, checkpoint at step {saved_step(killed)}", flush=True)
        process, _ = start(logs / "killed", [f"resume={killed}"])
    finish(process)
    return alone, killed


def new_interpreter(logs: Path, overrides: list[str]) -> tuple[subprocess.Popen[str], Path]:
    """Start a training process. Return it with its run folder as soon as it has printed the folder."""
    command = [sys.executable, str(ROOT / "train.py"), *overrides]
    if not overrides[0].startswith("resume="):
        command.append(f"paths.logs={logs}")
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "writing to" in line:
            return process, Path(line.rpartition("writing to ")[2].strip())
        if "is finished" in line:
            return process, Path(line.partition(" is finished")[0])
    raise RuntimeError("".join(lines))


def saved_step(folder: Path) -> int:
    """Return the step of `last.ckpt`; 0 if there is none yet."""
    path = folder / "checkpoints" / "last.ckpt"
    return int(torch.load(path, weights_only=True)["global_step"]) if path.exists() else 0


def finish(process: Process) -> None:
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(output)


if __name__ == "__main__":
    main()
