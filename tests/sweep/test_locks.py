"""Several workers of one sweep, one of which is killed: real processes with fake jobs."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import postgres
from scripts.check_sweeps import output_of
from tests.conftest import Fork
from tests.sweep import fake_jobs
from tests.sweep.fake_jobs import rows

NUM_TRIALS = 10
WORKER = Path(fake_jobs.__file__)  # its first argument is the duration of a job in seconds


@pytest.fixture(params=["journal", "postgresql"])
def storage(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "journal":
        yield "journal"
        return
    if postgres.programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with postgres.server() as url:
        yield url


def test_three_workers_run_exactly_n_trials_when_one_is_killed(fork: Fork, tmp_path: Path, storage: str) -> None:
    arguments = [
        f"paths.logs={tmp_path}",
        "model.dropout=interval(0.0, 0.9)",
        f"sweep.n_trials={NUM_TRIALS}",
        "sweep.name=shared",
        f"sweep.storage='{storage}'",
    ]
    workers = [fork("0.4", *arguments, script=WORKER) for _ in range(3)]
    folder = tmp_path / "sweeps" / "shared"
    deadline = time.monotonic() + 40
    while len({pid for pids in starts(folder).values() for pid in pids}) < 3:
        assert time.monotonic() < deadline, "not all workers started a trial"
        time.sleep(0.02)
    begun_by = {pid for pids in starts(folder).values() for pid in pids}
    (killed,) = (pid for pid in begun_by if output_of(int(pid)) == workers[1].paths[0])
    workers[1].kill()
    done = [worker.wait(60) for worker in workers]
    assert [worker.returncode for worker in done] == [0, -9, 0], done

    assert [row["state"] for row in rows(folder)] == ["done"] * NUM_TRIALS
    begun = starts(folder)
    assert sorted(begun, key=int) == [str(number) for number in range(NUM_TRIALS)]
    twice = [pids for pids in begun.values() if len(pids) > 1]
    assert all(pids[0] == killed and len(pids) == 2 for pids in twice), "a trial was run twice"
    assert len(twice) <= 1
    assert sum(killed not in pids for pids in begun.values()) >= NUM_TRIALS / 2


def starts(folder: Path) -> dict[str, list[str]]:
    """Return the processes that started each trial, in order: number of the trial → process ids."""
    return {path.parent.name: path.read_text().split() for path in folder.glob("*/starts")}


def test_of_two_different_sweeps_with_one_name_the_second_is_rejected(fork: Fork, tmp_path: Path) -> None:
    common = [f"paths.logs={tmp_path}", "sweep.name=x"]
    spaces = ["model.dropout=0.1,0.2", "model.dropout=0.3,0.4"]
    workers = [fork("0.2", *common, space, script=WORKER) for space in spaces]
    done = [worker.wait(60) for worker in workers]
    codes = [worker.returncode for worker in done]
    assert sorted(codes) == [0, 2], done
    rejected = done[codes.index(2)]
    assert rejected.stderr.startswith("error: sweep.name: x exists and is another sweep")
    assert len((rejected.stdout + rejected.stderr).splitlines()) == 1
    found = rows(tmp_path / "sweeps" / "x")
    assert [f"model.dropout={','.join(row['model.dropout'] for row in found)}"] == [spaces[codes.index(0)]]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_a_worker_with_one_line(fork: Fork, tmp_path: Path, name: str) -> None:
    worker = fork("1000", f"paths.logs={tmp_path}", "seed=0,1", "sweep.name=x", script=WORKER)
    deadline = time.monotonic() + 40
    while not starts(tmp_path / "sweeps" / "x"):
        assert time.monotonic() < deadline, "the worker did not start a trial"
        time.sleep(0.02)
    worker.run.send_signal(signal.Signals[name])
    done = worker.wait(20)
    assert done.returncode == 128 + signal.Signals[name]
    assert done.stderr.splitlines()[-1] == f"stopped by {name}; the same command resumes the sweep"
