"""The Optuna study: which points are tried, and who runs them."""

import json
import os
from pathlib import Path

import pytest

from leyden.errors import UserError
from leyden.records.run_folder import last_checkpoint
from leyden.sweep.settings import SAMPLERS
from leyden.sweep.study import MAX_STARTS, Study
from leyden.sweep.worker import Sweep
from tests.sweep.fake_jobs import DROPOUT, FakeJobs, folder, kill, make_plan, overrides, quadratic, rows, sweep, values


def test_a_search_begins_with_the_default_and_the_enqueued_points(logs: str) -> None:
    enqueue = "sweep.enqueue=[{model.dropout: 0.25}]"
    jobs = sweep(quadratic, logs, DROPOUT, "model.hidden=choice([64],[120,84])", enqueue, "sweep.n_trials=4")
    assert overrides(jobs, 1)[0] == ""
    assert values(jobs.started[1])["model.dropout"] == "0.25"
    assert values(jobs.started[1])["model.hidden"] in ("[64]", "[120,84]")


def test_a_larger_n_trials_extends_to_the_exact_count(tmp_path: Path, logs: str) -> None:
    assert len(sweep(quadratic, logs, DROPOUT, "sweep.n_trials=5", slots=3).started) == 5
    jobs = sweep(quadratic, logs, DROPOUT, "sweep.n_trials=12", slots=5)
    assert [job.number for job in jobs.started] == list(range(5, 12))
    found = rows(folder(tmp_path))
    assert [row["state"] for row in found] == ["done"] * 12
    assert len({row["model.dropout"] for row in found}) == 12, "a resumed search repeats points"


def test_a_resumed_search_suggests_the_same_points_as_an_uninterrupted_one(tmp_path: Path) -> None:
    for number, counts in enumerate(([12], [11, 12])):
        for count in counts:
            sweep(quadratic, f"paths.logs={tmp_path / str(number)}", DROPOUT, f"sweep.n_trials={count}")
    one, other = ([row["model.dropout"] for row in rows(folder(tmp_path / name))] for name in ("0", "1"))
    assert one == other


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_suggests_distinct_points(tmp_path: Path, logs: str, sampler: str) -> None:
    space = [
        "model.dropout=range(0.0, 0.9, 0.1)" if sampler == "brute_force" else DROPOUT,
        "model.norm=none,batch",
        "data.batch_size=range(8, 65, 8)",
    ]
    # Of these two, the first points are random: ten of them unless the sweep says otherwise.
    few = ["sweep.sampler_args={n_startup_trials: 4}"] if sampler in ("tpe", "gp") else []
    sweep(quadratic, logs, *space, "sweep.n_trials=9", f"sweep.sampler={sampler}", *few)
    found = rows(folder(tmp_path))
    assert len(found) == 9
    assert len({(row["model.dropout"], row["model.norm"], row["data.batch_size"]) for row in found}) == 9
    assert {int(row["data.batch_size"]) % 8 for row in found[1:]} == {0}


def test_tpe_finds_the_optimum(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=25")
    (best,) = json.loads((folder(tmp_path) / "sweep.json").read_text())["best"]
    assert best["values"]["val/acc"] > 1 - 0.02**2
    assert best["commands"] == [f"python train.py {logs} {best['overrides'][0]}"]


def test_a_conditional_axis_is_searched_only_under_its_condition(tmp_path: Path) -> None:
    plan = make_plan(f"paths.logs={tmp_path}", "sweep=cnn_cifar10", "sweep.n_trials=20")
    jobs = FakeJobs(lambda _: 0.5)
    Sweep(plan, jobs, "").run()
    for job in jobs.started[2:]:
        chosen = values(job)
        assert ("optimizer.momentum" in chosen) == (chosen["optimizer"] == "sgd")
        low, high = (3e-4, 3e-2) if chosen["optimizer"] == "adamw" else (5e-3, 0.5)
        assert low <= float(chosen["optimizer.lr"]) <= high
    assert {values(job)["optimizer"] for job in jobs.started[2:]} == {"sgd", "adamw"}


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_only_the_trial_of_a_dead_worker_is_claimed_again(tmp_path: Path, logs: str, storage: str) -> None:
    url = "journal" if storage == "journal" else f"sqlite:///{tmp_path / 'study.db'}"
    plan = make_plan(logs, DROPOUT, "sweep.n_trials=3", f"sweep.storage={url}")
    one, other = Study(plan), Study(plan)
    first, second = one.claim(), other.claim()
    assert first
    assert second
    assert (first.number, second.number) == (0, 1)
    kill(one)
    again = other.claim()
    assert again
    assert again.number == 0
    assert again.trial.params == first.trial.params
    last = other.claim()
    assert last
    assert last.number == 2
    assert one.claim() is None
    kill(other)


def test_a_trial_that_kills_its_workers_fails(logs: str) -> None:
    plan = make_plan(logs, DROPOUT, "sweep.n_trials=1")
    for _ in range(MAX_STARTS):
        study = Study(plan)
        claimed = study.claim()
        assert claimed
        assert claimed.number == 0
        kill(study)
    study = Study(plan)
    assert study.claim() is None
    assert study.trials()[0].user_attrs["reason"] == f"killed {MAX_STARTS} times without a new checkpoint"


def test_a_released_trial_does_not_count_as_a_start(logs: str) -> None:
    plan = make_plan(logs, DROPOUT, "sweep.n_trials=1")
    for _ in range(MAX_STARTS + 1):
        study = Study(plan)
        claimed = study.claim()
        assert claimed
        assert claimed.number == 0
        study.release(claimed)


def test_a_second_search_cannot_use_the_name_of_another(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=2", "sweep.name=mine")
    assert folder(tmp_path).name == "mine"
    with pytest.raises(UserError, match=r"^sweep.name: mine exists and is another sweep"):
        sweep(quadratic, logs, "model.dropout=interval(0, 0.5)", "sweep.n_trials=2", "sweep.name=mine")


def test_a_trial_whose_workers_are_killed_resumes_as_long_as_its_checkpoint_advances(logs: str) -> None:
    plan = make_plan(logs, DROPOUT, "sweep.n_trials=1")
    checkpoint = last_checkpoint(plan.folder / "0")
    for number in range(2 * MAX_STARTS):
        study = Study(plan)
        claimed = study.claim()
        assert claimed
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text("")
        os.utime(checkpoint, ns=(0, (number + 1) * 10**9))
        kill(study)


def test_a_worker_may_be_killed_while_it_counts_a_start(tmp_path: Path) -> None:
    """The number of starts is written in two steps."""
    plan = make_plan("optimizer.lr=1e-3,1e-2", f"paths.logs={tmp_path}", "sweep.name=x")
    study = Study(plan)
    trial = study.optuna.ask()
    trial.set_user_attr("progress", 0)
    claimed = study.claim()
    assert claimed is not None
    assert claimed.number == trial.number
    assert claimed.trial.user_attrs["starts"] == 1
    kill(study)
