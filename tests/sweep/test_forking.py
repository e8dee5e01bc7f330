"""Runs as forked processes: as separate as those of new interpreters, and with the same results."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from leyden.records.checkpoint_file import read_checkpoint
from leyden.records.run_folder import last_checkpoint
from leyden.sweep.fork_server import Server
from leyden.sweep.forking import AVAILABLE, ForkedRun, ForkServer
from scripts.check_sweeps import output_of, wait_for
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="forked runs need Linux")

TRAIN = str(ROOT / "train.py")
SMALL = ["model=mlp", "model.hidden=[8]", "model.dropout=0.5", "trainer=smoke", "logger=none"]


def start(server: ForkServer, folder: Path, *overrides: str) -> ForkedRun:
    with (folder / "output.log").open("ab") as output:
        return server.start([TRAIN, f"paths.logs={folder}", *overrides], {**os.environ, "LEYDEN_LOGS": "x"}, output)


def output(folder: Path) -> str:
    return (folder / "output.log").read_text()


def weights(logs: Path) -> dict[str, torch.Tensor]:
    (folder,) = logs.glob("runs/*/*")
    found: dict[str, torch.Tensor] = read_checkpoint(last_checkpoint(folder))["state_dict"]
    return found


def test_runs_have_the_bits_of_a_new_interpreter(fork_server: ForkServer, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "alone")]
    for folder in folders:
        folder.mkdir()
    runs = [start(fork_server, folder, *SMALL) for folder in folders[:2]]
    subprocess.run([sys.executable, TRAIN, *SMALL, f"paths.logs={folders[2]}"], check=True, capture_output=True)
    assert [run.wait(60) for run in runs] == [0, 0], output(folders[0])
    one, two, alone = (weights(folder) for folder in folders)
    assert all(torch.equal(one[name], alone[name]) and torch.equal(two[name], alone[name]) for name in alone)


def test_a_mistake_is_one_line_and_exit_code_2(fork_server: ForkServer, tmp_path: Path) -> None:
    assert start(fork_server, tmp_path, "early_stopping.patience=0").wait(60) == 2
    assert output(tmp_path).startswith("error: early_stopping.patience: got 0")
    assert output(tmp_path).count("\n") == 1


def test_it_saves_a_checkpoint_when_it_is_stopped_and_its_processes_end_when_it_is_killed(
    fork_server: ForkServer, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("stopped", "killed")]
    for folder in folders:
        folder.mkdir()
    stopped, killed = (start(fork_server, folder, "model=mlp", "trainer.max_epochs=1000") for folder in folders)
    wait_for(lambda: all("epoch 1/1000" in output(folder) for folder in folders), "the first epochs", 60)
    stopped.terminate()
    killed.kill()
    assert stopped.wait(60) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM at step" in output(folders[0])
    assert killed.wait(60) == -signal.SIGKILL


def test_the_server_has_one_thread_and_no_run_is_left(fork_server: ForkServer) -> None:
    """A fork copies only the thread that calls it, so the locks of others would stay locked for ever."""
    assert len(list(Path(f"/proc/{fork_server.process.pid}/task").iterdir())) == 1
    assert fork_server.runs == {}


def test_a_run_can_be_killed_before_it_has_a_session() -> None:
    """As in the first moment after the fork."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        server = Server(theirs)
        server.runs[process.pid] = 7
        server.stop(7, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        server.report_ended()
        assert json.loads(ours.recv(100)) == {"ended": 7, "code": -signal.SIGKILL}
        assert server.runs == {}


def test_its_runs_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    with ForkServer(os.environ) as server:
        run = start(server, tmp_path, "model=mlp", "trainer.max_epochs=1000")
        wait_for(lambda: "epoch 1/1000" in output(tmp_path), "the first epoch", 60)
        server.process.kill()
        assert run.wait(60) == -signal.SIGKILL
        assert not server.alive
        assert start(server, tmp_path).poll() == -signal.SIGKILL
        wait_for(lambda: tmp_path / "output.log" not in outputs(), "the run to end", 10)


def outputs() -> list[Path]:
    """Return the files to which the processes of this machine write."""
    return [output_of(int(path.name)) for path in Path("/proc").glob("[0-9]*")]
