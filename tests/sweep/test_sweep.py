"""Grids and searches with made-up jobs: what is tried, counted, continued and told."""

import json
from pathlib import Path

import pytest

from leyden.errors import TrialsFailedError, UserError
from leyden.sweep.display import brief
from leyden.sweep.planning import SAMPLERS
from leyden.sweep.runners import Job, share
from leyden.sweep.storage import open_storage, storage_url
from leyden.sweep.study import MAX_STARTS, Study
from tests.sweep.sweeping import FakeJobs, make_plan, quadratic, rows, sweep, values

DROPOUT = "model.dropout=interval(0.0, 0.9)"


@pytest.fixture
def logs(tmp_path: Path) -> str:
    return f"paths.logs={tmp_path}"


def folder(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "sweeps").iterdir()
    return found


def overrides(jobs: FakeJobs, base: int) -> list[str]:
    return [" ".join(job.overrides[base:]) for job in jobs.started]


def die(worker: Study) -> None:
    """What the kernel does when a worker is killed."""
    for claimed in worker.claimed.values():
        claimed.lock.file.close()


def test_a_grid_is_every_combination_in_hydras_order(logs: str) -> None:
    jobs = sweep(lambda _: 0.5, logs, "model=mlp,cnn", "seed=range(0,3)")
    assert overrides(jobs, 1) == [f"model={model} seed={seed}" for model in ("mlp", "cnn") for seed in range(3)]


def test_the_same_command_does_nothing_twice_and_says_so(logs: str, capsys: pytest.CaptureFixture[str]) -> None:
    sweep(lambda _: 0.5, logs, "seed=0,1")
    assert "nothing to do" not in capsys.readouterr().out
    assert sweep(lambda _: 0.5, "seed=0,1", logs).started == [], "the order of the overrides is no matter"
    assert "nothing to do" in capsys.readouterr().out


def test_a_search_begins_with_the_default_and_the_known_points(logs: str) -> None:
    enqueue = "sweep.enqueue=[{model.dropout: 0.25}]"
    jobs = sweep(quadratic, logs, DROPOUT, "model.hidden=choice([64],[120,84])", enqueue, "sweep.n_trials=4")
    assert overrides(jobs, 1)[0] == ""
    assert values(jobs.started[1])["model.dropout"] == "0.25"
    assert values(jobs.started[1])["model.hidden"] in ("[64]", "[120,84]")


def test_what_the_default_has_outside_of_the_space_stays_as_it_is(logs: str) -> None:
    plan = make_plan(logs, DROPOUT, "model.hidden=choice([1],[2])", "optimizer=sgd,adamw", "sweep.n_trials=4")
    assert plan.default == {"model.dropout": 0.0, "optimizer": "adamw"}


def test_a_larger_n_trials_extends_to_the_exact_count(tmp_path: Path, logs: str) -> None:
    assert len(sweep(quadratic, logs, DROPOUT, "sweep.n_trials=5", slots=3).started) == 5
    jobs = sweep(quadratic, logs, DROPOUT, "sweep.n_trials=12", slots=5)
    assert [job.number for job in jobs.started] == list(range(5, 12))
    found = rows(folder(tmp_path))
    assert [row["state"] for row in found] == ["done"] * 12
    assert len({row["model.dropout"] for row in found}) == 12, "a continued search repeats itself"


def test_a_continued_search_draws_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    for number, counts in enumerate(([12], [11, 12])):
        for count in counts:
            sweep(quadratic, f"paths.logs={tmp_path / str(number)}", DROPOUT, f"sweep.n_trials={count}")
    one, other = ([row["model.dropout"] for row in rows(folder(tmp_path / name))] for name in ("0", "1"))
    assert one == other


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_samples(tmp_path: Path, logs: str, sampler: str) -> None:
    space = [
        "model.dropout=range(0.0, 0.9, 0.1)" if sampler == "brute_force" else DROPOUT,
        "model.norm=none,batch",
        "data.batch_size=range(8, 65, 8)",
    ]
    sweep(quadratic, logs, *space, "sweep.n_trials=13", f"sweep.sampler={sampler}")
    found = rows(folder(tmp_path))
    assert len(found) == 13
    assert len({(row["model.dropout"], row["model.norm"], row["data.batch_size"]) for row in found}) == 13
    assert {int(row["data.batch_size"]) % 8 for row in found[1:]} == {0}


def test_tpe_finds_the_optimum(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=25")
    (best,) = json.loads((folder(tmp_path) / "sweep.json").read_text())["best"]
    assert best["values"]["val/acc"] > 1 - 0.02**2
    assert best["commands"] == [f"python train.py {logs} {best['overrides'][0]}"]


def test_what_belongs_to_a_choice_is_asked_under_it_only(tmp_path: Path) -> None:
    plan = make_plan(f"paths.logs={tmp_path}", "sweep=cnn_cifar10", "sweep.n_trials=20")
    jobs = FakeJobs(lambda _: 0.5)
    from leyden.sweep.worker import Sweep

    Sweep(plan, jobs, "").run()
    for job in jobs.started[2:]:
        chosen = values(job)
        assert ("optimizer.momentum" in chosen) == (chosen["optimizer"] == "sgd")
        low, high = (3e-4, 3e-2) if chosen["optimizer"] == "adamw" else (5e-3, 0.5)
        assert low <= float(chosen["optimizer.lr"]) <= high
    assert {values(job)["optimizer"] for job in jobs.started[2:]} == {"sgd", "adamw"}


def test_a_failed_trial_is_recorded_and_the_others_go_on(tmp_path: Path, logs: str) -> None:
    def outcome(job: Job) -> float | str:
        return "boom" if values(job)["seed"] == "2" else 0.5

    with pytest.raises(TrialsFailedError, match=r"1 of 6 trials failed\n  trial 2: failed: boom .*2/output.log"):
        sweep(outcome, logs, "seed=range(0,6)")
    assert [row["state"] for row in rows(folder(tmp_path))] == ["done", "done", "failed", "done", "done", "done"]


@pytest.mark.parametrize(("best", "reason"), [(None, "no number val/acc"), (float("nan"), "val/acc is nan")])
def test_an_objective_that_is_no_number_fails_the_trial(logs: str, best: float | None, reason: str) -> None:
    with pytest.raises(TrialsFailedError, match=reason):
        sweep(lambda _: {"best": best}, logs, "seed=0,1")


def test_seeds_are_averaged(tmp_path: Path, logs: str) -> None:
    jobs = sweep(lambda job: int(values(job)["seed"]) / 10, logs, "model=mlp,cnn", "seed=4", "sweep.seeds=3")
    assert [values(job)["seed"] for job in jobs.started] == ["4", "5", "6"] * 2
    assert [float(row["val/acc"]) for row in rows(folder(tmp_path))] == [pytest.approx(0.5)] * 2
    assert len({job.folder for job in jobs.started}) == 6
    (best,) = json.loads((folder(tmp_path) / "sweep.json").read_text())["best"]
    assert best["commands"][2] == f"python train.py {logs} model=mlp seed=6"


def test_a_pruned_point_is_not_repeated_on_other_seeds(tmp_path: Path, logs: str) -> None:
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


def test_several_objectives_give_the_points_that_none_beats(tmp_path: Path, logs: str) -> None:
    figures = {"0": (0.9, 100), "1": (0.8, 50), "2": (0.7, 70)}

    def outcome(job: Job) -> dict[str, object]:
        accuracy, size = figures[values(job)["seed"]]
        return {"best": accuracy, "parameters": size}

    sweep(outcome, logs, "seed=0,1,2", "sweep.objectives={val/acc: max, parameters: min}")
    best = json.loads((folder(tmp_path) / "sweep.json").read_text())["best"]
    assert [entry["values"] for entry in best] == [
        {"val/acc": 0.9, "parameters": 100},
        {"val/acc": 0.8, "parameters": 50},
    ]


def test_importances_name_what_matters(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, DROPOUT, "optimizer.lr=interval(0.001, 0.1)", "sweep.n_trials=20", "sweep.sampler=random")
    importances = json.loads((folder(tmp_path) / "sweep.json").read_text())["importances"]
    assert importances["model.dropout"] > 0.6


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_only_what_a_dead_worker_had_is_taken_over(tmp_path: Path, logs: str, storage: str) -> None:
    url = "journal" if storage == "journal" else f"sqlite:///{tmp_path / 'study.db'}"
    plan = make_plan(logs, DROPOUT, "sweep.n_trials=3", f"sweep.storage={url}")
    one, other = Study(plan), Study(plan)
    first, second = one.claim(), other.claim()
    assert first
    assert second
    assert (first.number, second.number) == (0, 1)
    die(one)
    again = other.claim()
    assert again
    assert again.number == 0
    assert again.trial.params == first.trial.params
    last = other.claim()
    assert last
    assert last.number == 2
    assert one.claim() is None
    die(other)


def test_a_trial_that_kills_its_workers_fails(logs: str) -> None:
    plan = make_plan(logs, DROPOUT, "sweep.n_trials=1")
    for _ in range(MAX_STARTS):
        study = Study(plan)
        claimed = study.claim()
        assert claimed
        assert claimed.number == 0
        die(study)
    study = Study(plan)
    assert study.claim() is None
    assert study.trials()[0].user_attrs["reason"] == f"its worker died {MAX_STARTS} times"


def test_a_trial_that_was_handed_back_does_not_count_as_a_death(logs: str) -> None:
    plan = make_plan(logs, DROPOUT, "sweep.n_trials=1")
    for _ in range(MAX_STARTS + 1):
        study = Study(plan)
        claimed = study.claim()
        assert claimed
        assert claimed.number == 0
        study.release(claimed)


def test_a_finished_run_that_was_not_told_is_not_run_again(tmp_path: Path, logs: str) -> None:
    plan = make_plan(logs, "seed=0,1")
    claimed = Study(plan).claim()
    assert claimed
    jobs = FakeJobs(lambda _: 0.25)
    jobs.report(Job(0, (), plan.folder / "0", None, claimed.lock.file))
    claimed.lock.file.close()
    assert [job.number for job in sweep(lambda _: 0.5, logs, "seed=0,1").started] == [1]
    assert [row["val/acc"] for row in rows(plan.folder)] == ["0.25", "0.5"]


def test_half_a_line_in_the_journal_is_dropped(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=2")
    with (folder(tmp_path) / "journal.log").open("a") as journal:
        journal.write('{"op_code": 4, "wor')
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=3")
    assert len(rows(folder(tmp_path))) == 3


def test_the_journal_opens_as_optuna_dashboard_opens_it(tmp_path: Path, logs: str) -> None:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=2")
    storage = JournalStorage(JournalFileBackend(str(folder(tmp_path) / "journal.log")))
    (name,) = optuna.study.get_all_study_names(storage)
    assert name == folder(tmp_path).name
    assert optuna.load_study(study_name=name, storage=storage).metric_names == ["val/acc"]
    assert open_storage(storage_url("journal", folder(tmp_path))).get_all_studies()


def test_a_name_is_of_one_search(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=2", "sweep.name=mine")
    assert folder(tmp_path).name == "mine"
    with pytest.raises(UserError, match=r"^sweep.name: mine exists and is another sweep"):
        sweep(quadratic, logs, "model.dropout=interval(0, 0.5)", "sweep.n_trials=2", "sweep.name=mine")


def test_what_does_not_change_the_trials_does_not_change_the_sweep(logs: str) -> None:
    one = make_plan(logs, DROPOUT, "model=mlp", "sweep.n_trials=2")
    assert one.name.startswith("digits-mlp-")
    assert one.name == make_plan("model=mlp", DROPOUT, "sweep.n_trials=20", "sweep.storage=sqlite:///x.db").name
    for other in ("sweep.pruner=median", "sweep.sampler=random", "trainer.max_epochs=3", "sweep.seeds=2"):
        assert one.name != make_plan(logs, DROPOUT, "model=mlp", "sweep.n_trials=2", other).name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimizer.lr=interval(0.1,1)"], "sweep.n_trials: must be given, since optimizer.lr is an interval"),
        (["sweep.n_trials=3"], "sweep.n_trials: nothing is searched"),
        (["sweep.n_trials=0", "seed=0,1"], "sweep.n_trials: got 0, expected a whole number from 1"),
        (["sweep.sampler=tpee"], "sweep.sampler: got 'tpee', expected one of tpe, gp"),
        (["sweep.pruner=medain"], "sweep.pruner: got 'medain', expected one of none, median"),
        (["sweep.storage=mysql://x"], "sweep.storage: got 'mysql://x', expected journal"),
        (["sweep.name=a/b", "seed=0,1"], "sweep.name: got 'a/b'"),
        (["sweep.pruner=wilcoxon", "model=mlp,cnn"], "sweep.pruner: wilcoxon compares trials seed by seed"),
        (["sweep.seeds=2", "seed=0,1"], "sweep.seeds: the seed itself is swept"),
        (["sweep=lr,cv"], "sweep: cannot have several values"),
        (["seed=0,1", "resume=x"], "resume: a sweep is continued by the same command"),
        (["optimizer.lr=interval(1,0)"], "optimizer.lr: the interval from 1.0 to 0.0 is empty"),
        (["optimizer.lr=tag(log,interval(0,1))"], "optimizer.lr: an interval on a log scale must start above 0"),
        (["sweep.space={model.dropout: 0.1}"], "sweep.space: model.dropout=0.1 is one value"),
        (
            [DROPOUT, "sweep.n_trials=3", "sweep.enqueue=[{model.dropout: 2}]"],
            "sweep.enqueue: model.dropout=2 is outside",
        ),
        ([DROPOUT, "sweep.n_trials=3", "sweep.enqueue=[{model.droput: 2}]"], "sweep.enqueue: model.droput is not"),
        (
            ["seed=0,1", "sweep.pruner=median", "sweep.objectives={val/acc: max, parameters: min}"],
            "sweep.pruner: with several objectives",
        ),
        (["seed=0,1", "sweep.pruner=median", "sweep.objectives={parameters: min}"], "sweep.pruner: sees val/acc"),
    ],
)
def test_a_mistake_names_its_key_before_anything_is_written(
    tmp_path: Path, logs: str, arguments: list[str], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        sweep(quadratic, logs, *arguments)
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.parametrize("key", ["sampler", "pruner"])
def test_arguments_that_optuna_does_not_know_are_a_mistake(tmp_path: Path, logs: str, key: str) -> None:
    pruner = "sweep.pruner=median"
    with pytest.raises(UserError, match=rf"^sweep.{key}_args: .*unexpected keyword argument 'x'"):
        sweep(quadratic, logs, DROPOUT, "sweep.n_trials=3", pruner, f"sweep.{key}_args={{x: 1}}")
    assert not (tmp_path / "sweeps").exists()


def test_shares_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("leyden.sweep.runners.cores", lambda: 8)
    assert share([], 1, 0, 1) == {}, "alone a job is what the plain command is"
    assert share([], 1, 1, 3) == {"OMP_NUM_THREADS": "2"}
    assert share([], 2, 0, 1) == {"OMP_NUM_THREADS": "4"}
    assert [share(["0", "1", "2", "3"], 2, slot, 2)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["0,1", "2,3"]


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["optimizer.lr=0.0038246543", "seed=123456"], "optimizer.lr=0.003825 seed=123456"),
        (["optimizer.lr=3.8246543e-05", "model.hidden=[64]"], "optimizer.lr=3.825e-05 model.hidden=[64]"),
        ([], "the default"),
    ],
)
def test_a_trial_in_brief(overrides: list[str], text: str) -> None:
    assert brief(overrides) == text
