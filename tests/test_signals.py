"""Signals before, during and after the training end a run with one line and the documented exit code."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from leyden.records.json_files import read_report
from scripts.check_sweeps import wait_for
from tests.conftest import ROOT, Fork, only_run

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}


def run_until(marker: str, code: str, *overrides: str) -> subprocess.Popen[str]:
    """Start a run after `code` in a new interpreter, and return when a line of its output contains `marker`."""
    start = f"{code}\nfrom leyden.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", start, *overrides], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    for line in process.stdout:
        if marker in line:
            return process
    raise AssertionError(process.communicate()[1])


@pytest.mark.parametrize("signum", CODES)
def test_during_the_training(fork: Fork, tmp_path: Path, signum: signal.Signals) -> None:
    logs = tmp_path / "mine (2)"
    process = fork(f"paths.logs={logs}", "trainer.max_epochs=1000", "trainer=cpu", "logger=none")
    wait_for(lambda: "epoch 1/" in process.stdout, "the first epoch")
    process.run.send_signal(signum)
    done = process.wait()
    assert done.returncode == CODES[signum]
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"stopped by {signum.name} at step ")
    command = shlex.split(line.partition("Resume with: ")[2])
    if signum != signal.SIGINT:  # one resume is enough
        return
    assert command[:2] == ["python", "train.py"]
    done = fork(*command[2:], "trainer.max_epochs=2").wait()
    assert done.returncode in (0, 2), done.stderr
    assert done.returncode == 0 or "already trained" in done.stderr


PAUSE_IN_TEST = """
import time
from leyden.modules.classifier import Classifier
real = Classifier.test_step
def test_step(self, batch, batch_idx):
    print("testing", flush=True)
    time.sleep(0.5)
    real(self, batch, batch_idx)
Classifier.test_step = test_step
"""


def test_during_the_test(fork: Fork, tmp_path: Path) -> None:
    signum = signal.SIGTERM
    script = tmp_path / "slow_test.py"
    script.write_text(f"{PAUSE_IN_TEST}\nfrom leyden.cli import main; main()")
    process = fork(f"paths.logs={tmp_path}/logs", "trainer=smoke", "trainer.limit_test_batches=1.0", script=script)
    wait_for(lambda: "testing" in process.stdout, "the test")
    process.run.send_signal(signum)
    done = process.wait(60)
    assert done.returncode == CODES[signum]
    said = rf"stopped by {signum.name} after the training; nothing is lost\. Resume with: .*\n"
    assert re.fullmatch(said, done.stderr)
    folder = only_run(tmp_path)
    assert read_report(folder) is None
    assert fork(f"resume={folder}").wait().returncode == 0
    assert read_report(folder)


PAUSE_IN_IMPORT = """
import sys, time
class Pause:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("importing", flush=True)
            time.sleep(20)
sys.meta_path.insert(0, Pause())
"""


def test_while_torch_is_imported(tmp_path: Path) -> None:
    process = run_until("importing", PAUSE_IN_IMPORT, f"paths.logs={tmp_path}/logs")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert stderr == "stopped by SIGINT; nothing was started\n"
    assert not (tmp_path / "logs").exists()


def test_before_the_first_step(fork: Fork, tmp_path: Path) -> None:
    process = fork(f"paths.logs={tmp_path}/logs", "trainer.max_epochs=1000", "trainer=cpu")
    wait_for(lambda: "writing to" in process.stdout, "the run folder")
    process.run.send_signal(signal.SIGTERM)
    done = process.wait(60)
    assert done.returncode == 143
    said = r"stopped by SIGTERM (before the first step|at step \d+); nothing is lost\. Resume .*\n"
    assert re.fullmatch(said, done.stderr)


BLOCKED = """
from torch.distributed import TCPStore
from leyden.training.signals import exit_on_signals
exit_on_signals()
store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
print("waiting", flush=True)
store.get("never")
"""


HANDLED = """
import os, signal, time
from leyden.training import signals
signals.BLOCKED = 0.1
signals.exit_on_signals()
signals.replace_handlers(lambda signum, frame: print("noted", flush=True))
os.kill(os.getpid(), signal.SIGTERM)
signals.restore_handlers()
time.sleep(0.5)
print("saved", flush=True)
"""


def test_a_signal_that_the_training_handles_does_not_end_it_later() -> None:
    done = subprocess.run([sys.executable, "-c", HANDLED], text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "noted\nsaved\n")


def test_while_it_waits_for_another_process() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCKED], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 143
    assert stderr.endswith("stopped by SIGTERM; nothing was started\n")
