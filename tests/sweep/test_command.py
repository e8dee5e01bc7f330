"""The command line with real runs: killed and resumed, with a failing trial, with DDP and pruning."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hydra_plugins.leyden.plugins import check_platform
from leyden.errors import UserError
from scripts.check_sweeps import Sweep, starts, timings, wait_for
from tests.conftest import ROOT

RUN = ["model=mlp", "early_stopping.patience=100", "checkpoint.every_n_steps=5", "logger=none"]


def test_a_killed_sweep_resumes_its_trial_and_continues_after_a_failure(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, *RUN, "trainer.max_epochs=40", "model.hidden=[16],[1000000000000]")
    worker = sweep.start()
    wait_for(lambda: (tmp_path / "sweeps").exists(), "the sweep")
    wait_for(lambda: len(timings(sweep.trial(0))) >= 2, "two epochs")
    worker.kill()
    worker.communicate()
    wait_for(lambda: not sweep.processes(), "the job to end with the sweep", 10)
    before = timings(sweep.trial(0))

    code, output = sweep.run()
    assert code == 1, output
    assert sweep.states() == ["done", "failed"]
    assert starts(sweep.trial(0)) == 2
    assert timings(sweep.trial(0))[: len(before) - 1] == before[:-1], "the trial was started from the beginning"
    assert "GB of memory" in (sweep.trial(1) / "output.log").read_text()
    assert "1 of 2 trials failed\n  trial 1: failed: " in output

    (best,) = sweep.summary()["best"]
    command = best["commands"][0].replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(command, shell=True, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (alone,) = tmp_path.glob("runs/*/*/report.json")
    assert json.loads(alone.read_text())["metrics"] == report(sweep, best["trial"])["metrics"]


def test_sigterm_saves_checkpoints_and_ends_all_processes(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, *RUN, "trainer.max_epochs=1000", "seed=0,1")
    worker = sweep.start()
    wait_for(lambda: any(tmp_path.glob("sweeps/*/*/checkpoints/last.ckpt")), "a checkpoint")
    worker.send_signal(signal.SIGTERM)
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 143, output
    assert output.splitlines()[-1] == "stopped by SIGTERM; the same command resumes the sweep"
    assert "stopped by SIGTERM at step" in (sweep.trial(0) / "output.log").read_text()
    assert sweep.processes() == []


def test_a_job_that_is_killed_from_outside_is_resumed(tmp_path: Path) -> None:
    """As the kernel kills a process if the memory is full."""
    sweep = Sweep(tmp_path, *RUN, "trainer.max_epochs=12", "seed=0")
    worker = sweep.start()
    wait_for(lambda: (tmp_path / "sweeps").exists(), "the sweep")
    wait_for(lambda: len(timings(sweep.trial(0))) >= 2, "two epochs")
    (job,) = sweep.jobs()
    os.kill(job, signal.SIGKILL)
    before = timings(sweep.trial(0))
    output, _ = worker.communicate(timeout=100)
    assert worker.returncode == 0, output
    assert sweep.states() == ["done"]
    assert starts(sweep.trial(0)) == 2
    assert timings(sweep.trial(0))[: len(before) - 1] == before[:-1], "the trial was started from the beginning"


def test_pruning_ends_all_processes_of_a_ddp_run(tmp_path: Path) -> None:
    processes = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=3"]
    prune = ["sweep.pruner=median", "sweep.pruner_args={n_startup_trials: 1}"]
    sweep = Sweep(tmp_path, *RUN, *processes, *prune, "optimizer.lr=3e-3,1e-8")
    code, output = sweep.run()
    assert code == 0, output
    assert sweep.states() == ["done", "pruned"]
    assert [report(sweep, number)["state"] for number in (0, 1)] == ["finished", "pruned"]
    assert [report(sweep, number)["processes"] for number in (0, 1)] == [2, 2]
    assert [report(sweep, number)["epochs"] for number in (0, 1)] == [3, 1]
    assert "test/acc" in report(sweep, 0)["metrics"]
    assert "test/acc" not in report(sweep, 1)["metrics"], "a pruned trial must not read the test set"
    assert (sweep.trial(1) / "checkpoints" / "best.ckpt").exists()
    assert sweep.processes() == []


def report(sweep: Sweep, number: int) -> dict[str, object]:
    found: dict[str, object] = json.loads((sweep.trial(number) / "report.json").read_text())
    return found


def test_sweeps_are_rejected_on_windows() -> None:
    with pytest.raises(UserError, match=r"^-m: sweeps need Linux or macOS"):
        check_platform("win32")
    check_platform("linux")
