"""Several workers of one sweep, one of which is killed: real processes with fake jobs."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import postgres
from tests.conftest import ROOT
from tests.sweep.fake_jobs import rows

NUM_TRIALS = 10


@pytest.fixture(params=["journal", "postgresql"])
def storage(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "journal":
        yield "journal"
        return
    if postgres.programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with postgres.server() as url:
        yield url


def test_three_workers_run_exactly_n_trials_when_one_is_killed(tmp_path: Path, storage: str) -> None:
    arguments = [
        f"paths.logs={tmp_path}",
        "model.dropout=interval(0.0, 0.9)",
        f"sweep.n_trials={NUM_TRIALS}",
        "sweep.name=shared",
        f"sweep.storage='{storage}'",
    ]
    command = [sys.executable, "-m", "tests.sweep.fake_jobs", "0.4", *arguments]
    workers = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(3)
    ]
    folder = tmp_path / "sweeps" / "shared"
    deadline = time.monotonic() + 40
    while len({pid for pids in starts(folder).values() for pid in pids}) < 3:
        assert time.monotonic() < deadline, "not all workers started a trial"
        time.sleep(0.02)
    workers[1].kill()
    outputs = [worker.communicate(timeout=60)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, -9, 0], outputs

    assert [row["state"] for row in rows(folder)] == ["done"] * NUM_TRIALS
    begun = starts(folder)
    assert sorted(begun, key=int) == [str(number) for number in range(NUM_TRIALS)]
    twice = [pids for pids in begun.values() if len(pids) > 1]
    killed = str(workers[1].pid)
    assert all(pids[0] == killed and len(pids) == 2 for pids in twice), "a trial was run twice"
    assert len(twice) <= 1
    assert sum(killed not in pids for pids in begun.values()) >= NUM_TRIALS / 2


def starts(folder: Path) -> dict[str, list[str]]:
    """Return the processes that started each trial, in order: number of the trial → process ids."""
    return {path.parent.name: path.read_text().split() for path in folder.glob("*/starts")}
