"""A sweep that is extended: more values, seeds and enqueued points, and no run twice."""

import json
from collections import Counter
from pathlib import Path

import optuna
import pytest

from leyden.errors import TrialsFailedError, UserError
from leyden.sweep.axes import parse
from leyden.sweep.extension import contains, extends, generation
from leyden.sweep.plan import Plan
from leyden.sweep.runners import Job
from leyden.sweep.space import read_axis
from leyden.sweep.storage import open_storage
from leyden.sweep.study import Study
from leyden.sweep.worker import Sweep
from tests.sweep.fake_jobs import DROPOUT, FakeJobs, folder, kill, make_plan, overrides, quadratic, rows, sweep, values

NAME = "sweep.name=x"


def accuracy(job: Job) -> float:
    """Return an objective that differs between models, learning rates and seeds."""
    chosen = values(job)
    return 0.5 + ("cnn" in chosen["model"]) / 10 + int(chosen["seed"]) / 100


def runs(logs: Path) -> Counter[str]:
    """Return how often each run folder of the sweep was started."""
    found = (logs / "sweeps" / "x").rglob("starts")
    return Counter({str(path.parent): len(path.read_text().splitlines()) for path in found})


def test_a_sweep_in_a_database_is_extended(tmp_path: Path, logs: str) -> None:
    common = [logs, NAME, f"sweep.storage=sqlite:///{tmp_path / 'study.db'}", "model=cnn"]
    sweep(accuracy, *common, "seed=0,1")
    assert overrides(sweep(accuracy, *common, "seed=0,1,2"), 2) == ["seed=2"]


def test_a_third_seed_adds_its_runs_only(tmp_path: Path, logs: str) -> None:
    common = [logs, NAME]
    sweep(accuracy, *common, "model=mlp,cnn", "seed=0,1")
    jobs = sweep(accuracy, *common, "model=mlp,cnn", "seed=0,1,2")
    assert [(values(job)["model"], values(job)["seed"]) for job in jobs.started] == [("mlp", "2"), ("cnn", "2")]
    assert [job.folder.name for job in jobs.started] == ["4", "5"]
    found = rows(folder(tmp_path))
    assert [row["state"] for row in found] == ["done"] * 6
    assert [(row["model"], row["seed"]) for row in found[:4]] == [
        ("mlp", "0"),
        ("mlp", "1"),
        ("cnn", "0"),
        ("cnn", "1"),
    ]
    (best,) = json.loads((folder(tmp_path) / "sweep.json").read_text())["best"]
    assert (best["trials"], best["runs"]) == ([2, 3, 5], 3)
    assert best["values"]["val/acc"] == pytest.approx(0.61)
    assert sweep(accuracy, *common, "model=mlp,cnn", "seed=0,1,2").started == []
    assert max(runs(tmp_path).values()) == 1


def test_values_are_added_again_and_again(tmp_path: Path, logs: str) -> None:
    sweep(accuracy, logs, NAME, "model=cnn", "seed=0,1")
    for seeds, new in (("seed=0,1,5", ["5"]), ("seed=range(0,6)", ["2", "3", "4"]), ("seed=range(0,8)", ["6", "7"])):
        assert [values(job)["seed"] for job in sweep(accuracy, logs, NAME, "model=cnn", seeds).started] == new
    assert sorted(int(row["seed"]) for row in rows(folder(tmp_path))) == list(range(8))


def test_more_seeds_per_trial_repeat_no_run(tmp_path: Path, logs: str) -> None:
    sweep(accuracy, logs, NAME, "model=mlp,cnn", "sweep.seeds=2")
    jobs = sweep(accuracy, logs, NAME, "model=mlp,cnn", "sweep.seeds=3")
    assert [(values(job)["model"], values(job)["seed"]) for job in jobs.started] == [("mlp", "2"), ("cnn", "2")]
    assert [str(job.folder.relative_to(folder(tmp_path))) for job in jobs.started] == ["0/seed-2", "1/seed-2"]
    assert [float(row["val/acc"]) for row in rows(folder(tmp_path))] == [pytest.approx(0.51), pytest.approx(0.61)]
    assert max(runs(tmp_path).values()) == 1


def test_seeds_and_values_are_added_to_a_search(tmp_path: Path, logs: str) -> None:
    search = [logs, NAME, "sweep.seeds=2", "sweep.n_trials=4", "seed=3"]
    first = sweep(quadratic, *search, "model.dropout=interval(0.0, 0.5)", "model.norm=none,batch")
    search[2:4] = ["sweep.seeds=3", "sweep.n_trials=6"]
    enqueue = "sweep.enqueue=[{model.norm: layer, model.dropout: 0.8}]"
    space = ["model.dropout=interval(0.0, 0.9)", "model.norm=none,batch,layer"]
    jobs = sweep(quadratic, *search, *space, enqueue)
    started = Counter(values(job)["seed"] for job in jobs.started)
    assert started == {"3": 2, "4": 2, "5": 6}
    assert len(first.started) == 8
    assert max(runs(tmp_path).values()) == 1
    assert any("model.norm=layer" in job.overrides and "model.dropout=0.8" in job.overrides for job in jobs.started)
    assert [row["state"] for row in rows(folder(tmp_path))] == ["done"] * 6


def test_failed_pruned_and_waiting_trials_stay_what_they_are(tmp_path: Path, logs: str) -> None:
    def outcome(job: Job) -> "float | str | dict[str, object]":
        number = int(values(job)["seed"])
        return "boom" if number == 1 else {"state": "pruned", "best": 0.5} if number == 2 else 0.5

    plan = make_plan(logs, NAME, "seed=range(0,4)", "sweep.pruner=median")
    jobs = FakeJobs(outcome)
    with pytest.raises(TrialsFailedError):
        Sweep(plan, jobs, "").run()
    with pytest.raises(TrialsFailedError):
        sweep(outcome, logs, NAME, "seed=range(0,6)", "sweep.pruner=median")
    assert [row["state"] for row in rows(folder(tmp_path))] == ["done", "failed", "pruned", "done", "done", "done"]
    again = sweep(lambda _: 0.7, logs, NAME, "seed=range(0,7)", "sweep.pruner=median", "sweep.retry_failed=true")
    assert sorted(values(job)["seed"] for job in again.started) == ["1", "6"]
    assert {job.folder.name for job in again.started if values(job)["seed"] == "1"} == {"1"}


def test_an_interrupted_sweep_is_extended_and_its_trial_resumed(tmp_path: Path, logs: str) -> None:
    study = Study(make_plan(logs, NAME, "model=cnn", "seed=0,1"))
    claimed = study.claim()
    assert claimed
    with pytest.raises(UserError, match=r"sweep.name: trial 0 of x is running. Wait until the earlier command has"):
        sweep(accuracy, logs, NAME, "model=cnn", "seed=0,1,2")
    kill(study)
    jobs = sweep(accuracy, logs, NAME, "model=cnn", "seed=0,1,2")
    assert [(values(job)["seed"], job.folder.name) for job in jobs.started] == [("0", "0"), ("1", "1"), ("2", "2")]
    with pytest.raises(UserError, match=r"sweep.name: another command has extended x. Start that command instead"):
        study.claim()


def test_a_killed_extension_leaves_the_sweep_as_it_was(
    tmp_path: Path, logs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(accuracy, logs, NAME, "model=cnn", "seed=0,1")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    before = (folder(tmp_path) / "identity.json").read_bytes()
    for method in ("add_trial", "set_user_attr"):
        with monkeypatch.context() as patch:
            patch.setattr(optuna.Study, method, killed)
            with pytest.raises(KeyboardInterrupt):
                sweep(accuracy, logs, NAME, "model=cnn", "seed=0,1,2")
        assert (folder(tmp_path) / "identity.json").read_bytes() == before
        assert sweep(accuracy, logs, NAME, "model=cnn", "seed=0,1").started == []
    with monkeypatch.context() as patch:
        patch.setattr("leyden.sweep.study.mark_sweep_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            sweep(accuracy, logs, NAME, "model=cnn", "seed=0,1,2")
    assert overrides(sweep(accuracy, logs, NAME, "model=cnn", "seed=0,1,2"), 2) == ["seed=2"]
    storage = open_storage(f"journal:///{folder(tmp_path) / 'journal.log'}")
    assert sorted(optuna.get_all_study_names(storage)) == ["x", "x (2)"]


@pytest.mark.parametrize(
    "command",
    [
        ["model=mlp,cnn", "seed=0"],  # an axis is gone
        ["model=cnn", "seed=0,2,3"],  # a value is gone
        ["model=cnn", "seed=0,1,2", "optimizer.lr=0.1"],  # another setting of all trials
        ["model=cnn", "seed=0,1,2", "sweep.pruner=median"],
        ["model=cnn", "seed=0,1,2", "optimizer.lr=0.1,0.2"],  # another axis
    ],
)
def test_another_sweep_is_no_extension(tmp_path: Path, logs: str, command: list[str]) -> None:
    sweep(accuracy, logs, NAME, "model=cnn", "seed=0,1")
    before = (folder(tmp_path) / "journal.log").read_bytes()
    with pytest.raises(UserError, match=r"sweep.name: x exists and is another sweep"):
        sweep(accuracy, logs, NAME, *command)
    assert (folder(tmp_path) / "journal.log").read_bytes() == before


def test_a_single_seed_per_trial_cannot_become_several(logs: str) -> None:
    sweep(quadratic, logs, NAME, DROPOUT, "sweep.n_trials=2")
    with pytest.raises(UserError, match=r"another sweep .* they differ: seeds: 1 there, seeds: 2 here"):
        sweep(quadratic, logs, NAME, DROPOUT, "sweep.n_trials=2", "sweep.seeds=2")


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("a=1,2", "a=2,1,3", True),
        ("a=0.10,x", "a=x,0.1", True),
        ("a=choice([1],[2,3])", "a=choice([2,3],[4],[1])", True),
        ("a=1,2", "a=range(0,5)", True),
        ("a=range(0,4)", "a=range(0,5)", True),
        ("a=range(0,4)", "a=0,1,2,3,9", True),
        ("a=range(0,5,2)", "a=range(1,9,2)", False),
        ("a=range(0,5,2)", "a=range(0,9,2)", True),
        ("a=interval(0.1,0.5)", "a=interval(0.0,1.0)", True),
        ("a=interval(0.1,0.5)", "a=tag(log,interval(0.05,1.0))", False),
        ("a=tag(log,interval(1e-4,0.5))", "a=tag(log,interval(1e-5,0.5))", True),
        ("a=tag(log,int(interval(16,64)))", "a=tag(log,int(interval(8,64)))", True),
        ("a=interval(0.1,0.5)", "a=interval(0.2,0.9)", False),
        ("a=interval(0.1,0.5)", "a=0.1,0.5", False),
        ("a=choice(1)", "a=1,2", True),
    ],
)
def test_an_axis_contains_an_earlier_one(before: str, now: str, expected: bool) -> None:
    one, other = (read_axis(parse([text])[0]) for text in (before, now))
    assert contains(other, str(one)) is expected


@pytest.mark.parametrize("content", [None, 3, [], [1] * 20, ["x"] * 20])
def test_a_damaged_identity_is_no_extension(logs: str, content: object) -> None:
    plan = make_plan(logs, NAME, "model=cnn", "seed=0,1")
    assert not extends(plan, {"content": content})
    if isinstance(content, list) and content:
        assert not extends(plan, {"content": ["x", *plan.content[1:]]})
    assert not extends(plan, None)


def test_only_a_different_command_is_an_extension(logs: str) -> None:
    plans: list[Plan] = [make_plan(logs, NAME, "model=cnn", seeds) for seeds in ("seed=0,1", "seed=0,1,2")]
    assert [[extends(one, other.identity) for other in plans] for one in plans] == [[False, False], [True, False]]
    assert [generation(name, "x") for name in ("x", "x (2)", "x (11)", "x2", "y (2)", "x (2) (3)")] == [
        1,
        2,
        11,
        0,
        0,
        0,
    ]
