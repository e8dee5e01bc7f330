"""How the end of a job is understood."""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus

from leyden.errors import DivergedError, StoppedError, UserError
from leyden.sweep.runners import Failure, Job, LauncherRunner, process_failure


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (0, None),
        (2, Failure("optimizer.lr: got -1")),
        (3, Failure("diverged: optimizer.lr: got -1")),
        (-9, Failure("killed by SIGKILL", killed=True)),
        (-15, Failure("killed by SIGTERM", killed=True)),
        (143, Failure("killed by SIGTERM", killed=True)),
        (129, Failure("killed by SIGHUP", killed=True)),
        (-11, Failure("crashed with SIGSEGV")),
    ],
)
def test_the_exit_code_of_a_process(tmp_path: Path, code: int, failure: Failure | None) -> None:
    (tmp_path / "output.log").write_text("epoch 1\nerror: optimizer.lr: got -1\n\n")
    assert process_failure(tmp_path, code) == failure


class Launcher:
    """A launcher whose jobs end with the given errors."""

    def __init__(self, errors: list[Exception | None]) -> None:
        self.errors = errors
        self.overrides: list[list[str]] = []

    def launch(self, job_overrides: list[list[str]], initial_job_idx: int) -> list[JobReturn]:
        self.overrides += job_overrides
        results = []
        for error in self.errors:
            result = JobReturn(status=JobStatus.FAILED if error else JobStatus.COMPLETED)
            result.return_value = error or 0.5
            results.append(result)
        return results


def test_a_batch_of_another_launcher(tmp_path: Path) -> None:
    errors = [None, UserError("a\nb"), DivergedError("nan"), StoppedError("stopped", 15)]
    launcher: Any = Launcher(errors)
    runner = LauncherRunner(launcher, size=4)
    with (tmp_path / "lock").open("w") as lock:
        for number in range(4):
            runner.start(Job(number, (f"seed={number}",), tmp_path / str(number), None, lock))
        assert runner.capacity() == 0
        ended = runner.ended()
    assert [failure for _, failure in ended] == [
        None,
        Failure("a b"),
        Failure("diverged: nan"),
        Failure("stopped", killed=True),
    ]
    assert launcher.overrides[1][0] == "seed=1"
    assert launcher.overrides[1][1].startswith("+hydra.job.env_set.LEYDEN_JOB='{")
    assert "UserError: a" in (tmp_path / "1" / "output.log").read_text()
    assert runner.capacity() == 4
