"""A worker with fake jobs: which runs it starts, and what it stores."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig

from leyden.errors import TrialsFailedError
from leyden.records.run_folder import last_checkpoint
from leyden.sweep.identity import check_run_folder
from leyden.sweep.runners import Failure, Job
from leyden.sweep.study import MAX_STARTS, Study
from leyden.sweep.worker import Sweep
from tests.sweep.fake_jobs import DROPOUT, FakeJobs, folder, make_plan, overrides, quadratic, rows, sweep, values


def test_a_grid_is_every_combination_in_hydras_order(logs: str) -> None:
    jobs = sweep(lambda _: 0.5, logs, "model=mlp,cnn", "seed=range(0,3)")
    assert overrides(jobs, 1) == [f"model={model} seed={seed}" for model in ("mlp", "cnn") for seed in range(3)]


def test_the_same_command_again_does_nothing_and_reports_it(logs: str, capsys: pytest.CaptureFixture[str]) -> None:
    sweep(lambda _: 0.5, logs, "seed=0,1")
    assert "nothing to do" not in capsys.readouterr().out
    assert sweep(lambda _: 0.5, "seed=0,1", logs).started == [], "the order of the overrides must not matter"
    assert "nothing to do" in capsys.readouterr().out


def test_a_failed_trial_is_recorded_and_the_others_continue(tmp_path: Path, logs: str) -> None:
    def outcome(job: Job) -> float | str:
        return "boom" if values(job)["seed"] == "2" else 0.5

    with pytest.raises(TrialsFailedError, match=r"1 of 6 trials failed\n  trial 2: failed: boom .*2/output.log"):
        sweep(outcome, logs, "seed=range(0,6)")
    assert [row["state"] for row in rows(folder(tmp_path))] == ["done", "done", "failed", "done", "done", "done"]


@pytest.mark.parametrize(("best", "reason"), [(None, "report.json: is damaged"), (float("nan"), "val/acc is nan")])
def test_an_objective_that_is_not_finite_fails_the_trial(logs: str, best: float | None, reason: str) -> None:
    with pytest.raises(TrialsFailedError, match=reason):
        sweep(lambda _: {"best": best}, logs, "seed=0,1")


def test_seeds_are_averaged(tmp_path: Path, logs: str) -> None:
    jobs = sweep(lambda job: int(values(job)["seed"]) / 10, logs, "model=mlp,cnn", "seed=4", "sweep.seeds=3")
    assert [values(job)["seed"] for job in jobs.started] == ["4", "5", "6"] * 2
    assert [float(row["val/acc"]) for row in rows(folder(tmp_path))] == [pytest.approx(0.5)] * 2
    assert len({job.folder for job in jobs.started}) == 6
    (best,) = json.loads((folder(tmp_path) / "sweep.json").read_text())["best"]
    assert best["commands"][2] == f"python train.py {logs} model=mlp seed=6"


def test_a_pruned_trial_is_not_run_with_other_seeds(tmp_path: Path, logs: str) -> None:
    def outcome(job: Job) -> dict[str, object]:
        return {"state": "pruned" if values(job)["model"] == "cnn" else "finished", "best": 0.5}

    jobs = sweep(outcome, logs, "model=mlp,cnn", "sweep.seeds=2", "sweep.pruner=median")
    assert overrides(jobs, 1) == ["model=mlp seed=0", "model=mlp seed=1", "model=cnn seed=0"]
    assert [bool(job.pruning) for job in jobs.started] == [True, False, True]
    assert [row["state"] for row in rows(folder(tmp_path))] == ["done", "pruned"]


def test_wilcoxon_prunes_between_seeds(tmp_path: Path, logs: str) -> None:
    def outcome(job: Job) -> float:
        return (0.9 if values(job)["model"] == "mlp" else 0.1) + int(values(job)["seed"]) / 100

    jobs = sweep(outcome, logs, "model=mlp,cnn", "sweep.seeds=8", "sweep.pruner=wilcoxon")
    assert 8 + 2 <= len(jobs.started) < 16
    assert [row["state"] for row in rows(folder(tmp_path))] == ["done", "pruned"]


def test_a_finished_run_whose_worker_died_is_not_run_again(tmp_path: Path, logs: str) -> None:
    plan = make_plan(logs, "seed=0,1")
    claimed = Study(plan).claim()
    assert claimed
    check_run_folder(plan.folder / "0", plan.run_identity(plan.run_overrides(claimed.overrides, 0)))
    jobs = FakeJobs(lambda _: 0.25)
    jobs.report(Job(0, (), plan.folder / "0", None, claimed.lock.file))
    claimed.lock.file.close()
    assert [job.number for job in sweep(lambda _: 0.5, logs, "seed=0,1").started] == [1]
    assert [row["val/acc"] for row in rows(plan.folder)] == ["0.25", "0.5"]


def killed(times: dict[str, int], advance: bool) -> Callable[[Job], float | Failure]:
    """Return an outcome: each job is killed as often as `times` says for its seed, with or without a new checkpoint."""

    def outcome(job: Job) -> float | Failure:
        seed = values(job)["seed"]
        times[seed] -= 1
        if times[seed] < 0:
            return 0.5
        if advance:
            checkpoint = last_checkpoint(job.folder)
            checkpoint.parent.mkdir(exist_ok=True)
            checkpoint.write_text("")
            os.utime(checkpoint, ns=(0, 10**9 * (100 - times[seed])))
        return Failure("killed by SIGKILL", killed=True)

    return outcome


def test_a_killed_job_is_started_again_as_long_as_its_checkpoint_advances(tmp_path: Path, logs: str) -> None:
    often = 3 * MAX_STARTS
    jobs = sweep(killed({"0": often, "1": 0}, advance=True), logs, "seed=0,1")
    assert [row["state"] for row in rows(folder(tmp_path))] == ["done", "done"]
    assert [job.number for job in jobs.started] == [0] * (often + 1) + [1]


def test_a_job_that_is_killed_without_progress_fails_in_the_end(tmp_path: Path, logs: str) -> None:
    reason = f"killed by SIGKILL {MAX_STARTS} times without a new checkpoint"
    with pytest.raises(TrialsFailedError, match=reason):
        sweep(killed({"0": 100, "1": 0}, advance=False), logs, "seed=0,1")
    assert [row["state"] for row in rows(folder(tmp_path))] == ["failed", "done"]


def test_retry_failed_runs_failed_trials_again_in_their_folders(tmp_path: Path, logs: str) -> None:
    arguments = [logs, DROPOUT, "sweep.n_trials=4"]
    with pytest.raises(TrialsFailedError, match="2 of 4 trials failed"):
        sweep(lambda job: "no memory" if job.number in (0, 2) else quadratic(job), *arguments)
    before = {row["trial"]: row["model.dropout"] for row in rows(folder(tmp_path))}
    with pytest.raises(TrialsFailedError, match="2 of 4 trials failed"):
        assert sweep(quadratic, *arguments).started == []
    jobs = sweep(quadratic, *arguments, "sweep.retry_failed=true")
    assert [(job.number, job.folder.name) for job in jobs.started] == [(4, "0"), (5, "2")]
    after = rows(folder(tmp_path))
    assert [row["state"] for row in after] == ["done"] * 4
    assert before["2"] == {row["trial"]: row["model.dropout"] for row in after}["5"]
    assert sweep(quadratic, *arguments, "sweep.retry_failed=true").started == []
    assert len(sweep(quadratic, logs, DROPOUT, "sweep.n_trials=6").started) == 2


def test_a_point_that_is_suggested_twice_is_not_trained_twice(tmp_path: Path, logs: str) -> None:
    jobs = sweep(lambda job: {"best": len(job.overrides)}, logs, "model=mlp,cnn", "sweep.n_trials=9")
    assert len({job.overrides for job in jobs.started}) == len(jobs.started) < 9
    found = rows(folder(tmp_path))
    assert [row["state"] for row in found] == ["done"] * 9


def test_a_config_that_cannot_be_composed_fails_its_trial_only(tmp_path: Path, logs: str) -> None:
    plan = make_plan(logs, "seed=0,1", "sweep.name=x")

    def compose(overrides: Sequence[str]) -> DictConfig:
        if "seed=1" in overrides:
            raise ConfigCompositionException("Could not override 'optimizer.momentum'.")
        return plan.compose(overrides)

    with pytest.raises(TrialsFailedError, match=r"optimizer\.momentum: there is no such key"):
        Sweep(replace(plan, compose=compose), FakeJobs(lambda _: 0.5), "").run()
    assert [row["state"] for row in rows(folder(tmp_path))] == ["done", "failed"]
