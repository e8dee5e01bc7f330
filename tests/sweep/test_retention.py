"""``sweep.keep``: which checkpoints a sweep deletes."""

from pathlib import Path

import pytest

from leyden.errors import TrialsFailedError, UserError
from leyden.records.run_folder import best_checkpoint, last_checkpoint
from leyden.sweep.runners import Job
from tests.sweep.fake_jobs import folder, make_plan, sweep, values

RESULTS: list["float | str | dict[str, object]"] = [0.5, 0.9, 0.9, "boom", {"state": "pruned", "best": 0.99}, 0.7]


def outcome(job: Job) -> "float | str | dict[str, object]":
    """Write checkpoints as a run does, and return the result of its seed."""
    for path in (best_checkpoint(job.folder), last_checkpoint(job.folder)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return RESULTS[int(values(job)["seed"])]


def kept(logs: Path) -> list[str]:
    """Return the trials that have checkpoints."""
    found = folder(logs).rglob("*.ckpt")
    return sorted({path.relative_to(folder(logs)).parts[0] for path in found})


@pytest.mark.parametrize(("keep", "trials"), [("null", "012345"), ("1", "13"), ("2", "123"), ("3", "1235")])
def test_the_best_trials_and_failed_ones_keep_their_checkpoints(
    tmp_path: Path, logs: str, keep: str, trials: str
) -> None:
    with pytest.raises(TrialsFailedError):
        sweep(outcome, logs, "seed=range(0,6)", f"sweep.keep={keep}", "sweep.pruner=median")
    assert kept(tmp_path) == list(trials)
    assert all((folder(tmp_path) / str(number) / "report.json").exists() for number in (0, 1, 2, 4, 5))


def test_a_finished_sweep_can_be_reduced(tmp_path: Path, logs: str) -> None:
    sweep(outcome, logs, "seed=0,1,5")
    assert kept(tmp_path) == ["0", "1", "2"]
    assert sweep(outcome, logs, "seed=0,1,5", "sweep.keep=1").started == []
    assert kept(tmp_path) == ["1"]


def test_no_link_is_followed(tmp_path: Path, logs: str) -> None:
    sweep(outcome, logs, "seed=0,1")
    other = tmp_path / "other"
    (folder(tmp_path) / "0" / "checkpoints").rename(other)
    (folder(tmp_path) / "0" / "checkpoints").symlink_to(other)
    with pytest.raises(UserError, match="0/checkpoints: is a symbolic link"):
        sweep(outcome, logs, "seed=0,1", "sweep.keep=1")
    assert len(list(other.iterdir())) == 2


def test_settings_that_make_no_sense_are_one_line(logs: str) -> None:
    with pytest.raises(UserError, match=r"sweep.keep: got 0, must be at least 1"):
        make_plan(logs, "seed=0,1", "sweep.keep=0")
    with pytest.raises(UserError, match=r"sweep.keep: works with one objective only"):
        make_plan(logs, "seed=0,1", "sweep.keep=1", "sweep.objectives={val/acc: max, parameters: min}")
