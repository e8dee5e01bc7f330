"""What only real processes show: kill -9, SIGTERM, several processes of one run, several runs at once."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.distributed import run

from leyden.records.run_folder import last_checkpoint
from leyden.tools.evaluate import evaluate
from scripts.kill_and_resume import RUN, kill_and_resume, new_interpreter, saved_step
from scripts.torture_lib.same_bits import compare
from tests.conftest import Fork, Forked

StartForked = Callable[[Path, list[str]], tuple[Forked, Path]]
DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]


@pytest.fixture
def start_forked(fork: Fork) -> StartForked:
    """Starts a training process without its imports, as `new_interpreter` starts one with them."""

    def call(logs: Path, overrides: list[str]) -> tuple[Forked, Path]:
        process = fork(*overrides, f"paths.logs={logs}") if "resume" not in overrides[0] else fork(*overrides)
        wait_until(lambda: "writing to" in process.stdout or process.run.poll() is not None)
        (line,) = (line for line in process.stdout.splitlines() if "writing to" in line)
        return process, Path(line.rpartition("writing to ")[2].strip())

    return call


def test_killed_and_resumed_it_ends_in_the_same_bits(start_forked: StartForked, tmp_path: Path) -> None:
    class SoonAfterTheStart(random.Random):
        """The moment of the kill: before half of the time has passed."""

        def uniform(self, a: float, b: float) -> float:
            return a + (b - a) * 0.12

    few = [*RUN, "trainer.max_epochs=4"]
    alone, killed = kill_and_resume(tmp_path, few, kills=1, rng=SoonAfterTheStart(), start=start_forked)
    assert compare(alone, killed) == []


def test_sigterm_saves_and_exits_with_143(start_forked: StartForked, tmp_path: Path) -> None:
    process, folder = start_forked(tmp_path, ["trainer.max_epochs=1000", "checkpoint.every_n_steps=0"])
    wait_until(lambda: saved_step(folder) > 0)  # the first epoch
    before = saved_step(folder)
    process.run.send_signal(signal.SIGTERM)
    done = process.wait(60)
    assert done.returncode == 143
    assert f"Resume with: python train.py resume={folder}" in done.stderr.splitlines()[-1]
    assert saved_step(folder) >= before
    assert torch.load(last_checkpoint(folder), weights_only=True)["epoch"] >= 1


def test_two_processes_make_one_run_with_the_metrics_of_one(start_forked: StartForked, tmp_path: Path) -> None:
    process, folder = start_forked(tmp_path, [*DDP, "trainer.max_epochs=2"])
    done = process.wait(200)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "Warning" not in output
    assert "site-packages" not in output
    assert only_run_in(tmp_path) == folder
    report = json.loads((folder / "report.json").read_text())
    assert report["processes"] == 2
    assert report["steps"] == 2 * -(-1294 // 2 // 32)
    assert report["data"]["sizes"]["test"] % 2 == 1, "the sizes should not divide"
    assert evaluate(folder, "val") | evaluate(folder, "test") == report["metrics"]
    assert processes_of(folder) == []


@pytest.mark.parametrize("moment", ["starting", "training"])
def test_no_process_is_left_when_the_first_is_killed(moment: str, tmp_path: Path) -> None:
    process, folder = new_interpreter(tmp_path, [*DDP, "trainer.max_epochs=1000"])
    wait_until(lambda: len(processes_of(folder)) == 2)
    if moment == "training":
        wait_until(lambda: saved_step(folder) > 0)
    process.kill()
    process.communicate(timeout=60)  # ends when no process holds the other end of the pipe
    wait_until(lambda: not processes_of(folder))


def test_torchrun_makes_one_run_folder(fork: Fork, tmp_path: Path) -> None:
    arguments = [*DDP, "trainer.max_epochs=1", "model=mlp", "logger=none", f"paths.logs={tmp_path / 'logs'}"]
    launcher = Path(run.__file__)  # of `python -m torch.distributed.run`, which torchrun is
    done = fork("--standalone", "--nproc-per-node", "2", "train.py", *arguments, script=launcher).wait(200)
    assert done.returncode == 0, done.stderr
    report = json.loads((only_run_in(tmp_path / "logs") / "report.json").read_text())
    assert report["processes"] == 2
    assert report["steps"] == -(-1294 // 2 // 32)


def test_four_runs_in_the_same_second_have_four_folders(fork: Fork, tmp_path: Path) -> None:
    command = ["trainer=smoke", "model=mlp", "logger=none", f"paths.logs={tmp_path / 'logs'}"]
    runs = [fork(*command, f"seed={seed}") for seed in range(4)]
    done = [run.wait() for run in runs]
    assert [one.returncode for one in done] == [0] * 4, done
    reports = [json.loads(path.read_text()) for path in (tmp_path / "logs").glob("runs/*/*/report.json")]
    assert sorted(report["seed"] for report in reports) == list(range(4))


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def only_run_in(logs: Path) -> Path:
    (folder,) = logs.glob("runs/*/*")
    return folder


def processes_of(folder: Path) -> list[str]:
    """The live processes that write to `folder`'s logs, as `ps` shows them."""
    logs = str(folder.parents[2])
    lines = subprocess.run(
        ["ps", "-ww", "-eo", "pid,stat,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [line for line in lines if logs in line and int(line.split()[0]) != os.getpid() and " Z" not in line[:20]]
