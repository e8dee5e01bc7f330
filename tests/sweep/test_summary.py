"""The summary of a sweep."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from leyden.config.quoting import override
from leyden.errors import TrialsFailedError
from leyden.sweep.axes import parse
from leyden.sweep.runners import Job
from leyden.sweep.summary import objective
from tests.sweep.fake_jobs import DROPOUT, folder, quadratic, sweep, values


def test_several_objectives_give_the_pareto_front(tmp_path: Path, logs: str) -> None:
    results = {"0.0": (0.9, 100), "0.1": (0.8, 50), "0.2": (0.7, 70)}

    def outcome(job: Job) -> dict[str, object]:
        accuracy, size = results[values(job)["model.dropout"]]
        return {"best": accuracy, "parameters": size}

    sweep(outcome, logs, "model.dropout=0.0,0.1,0.2", "sweep.objectives={val/acc: max, parameters: min}")
    best = json.loads((folder(tmp_path) / "sweep.json").read_text())["best"]
    assert [entry["values"] for entry in best] == [
        {"val/acc": 0.9, "parameters": 100},
        {"val/acc": 0.8, "parameters": 50},
    ]


def test_importances_name_what_matters(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, DROPOUT, "optimizer.lr=interval(0.001, 0.1)", "sweep.n_trials=20", "sweep.sampler=random")
    importances = json.loads((folder(tmp_path) / "sweep.json").read_text())["importances"]
    assert importances["model.dropout"] > 0.6


def summary(logs: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder(logs) / "sweep.json").read_text())
    return found


SCORES = {("mlp", "0"): 0.90, ("mlp", "1"): 0.50, ("cnn", "0"): 0.80, ("cnn", "1"): 0.84}


def by_seed(job: Job) -> float:
    return SCORES[values(job)["model"], values(job)["seed"]]


def test_the_best_is_a_configuration_not_a_lucky_seed(
    tmp_path: Path, logs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(by_seed, logs, "model=mlp,cnn", "seed=0,1")
    (best,) = summary(tmp_path)["best"]
    assert best["overrides"] == ["model=cnn"]
    assert best["values"]["val/acc"] == pytest.approx(0.82)
    assert best["std"]["val/acc"] == pytest.approx(0.0282843, abs=1e-6)  # sqrt((0.02² + 0.02²) / 1)
    assert best["trials"] == [2, 3]
    assert best["commands"] == [f"python train.py {logs} model=cnn seed={seed}" for seed in (0, 1)]
    assert "best: trials 2, 3, val/acc 0.8200 ± 0.0283 (n=2); repeat with:" in capsys.readouterr().out


def test_cross_validation_gives_a_mean_over_its_folds(tmp_path: Path, logs: str) -> None:
    sweep(lambda job: int(values(job)["data.fold"]) / 10, logs, "sweep=cv")
    (best,) = summary(tmp_path)["best"]
    assert (best["runs"], best["values"]["val/acc"]) == (5, pytest.approx(0.2))
    assert best["std"]["val/acc"] == pytest.approx(0.1581139)  # the standard deviation of 0, 0.1, …, 0.4
    assert summary(tmp_path)["importances"] == {}


def test_seeds_of_a_trial_give_a_standard_deviation(tmp_path: Path, logs: str) -> None:
    sweep(by_seed, logs, "model=mlp,cnn", "sweep.seeds=2")
    (best,) = summary(tmp_path)["best"]
    assert best["overrides"] == ["model=cnn"]
    assert best["std"]["val/acc"] == pytest.approx(0.0282843, abs=1e-6)


def test_a_configuration_with_a_failed_seed_is_not_compared(tmp_path: Path, logs: str) -> None:
    with pytest.raises(TrialsFailedError):
        sweep(lambda job: "boom" if job.number == 1 else by_seed(job), logs, "model=mlp,cnn", "seed=0,1")
    (best,) = summary(tmp_path)["best"]
    assert best["overrides"] == ["model=cnn"]


def test_the_validation_loss_decides_between_equal_trials(tmp_path: Path, logs: str) -> None:
    losses = {"0.1": 0.3, "0.2": 0.1, "0.3": 0.2}

    def outcome(job: Job) -> dict[str, object]:
        return {"best": 1.0, "metrics": {"val/loss": losses[values(job)["model.dropout"]]}}

    sweep(outcome, logs, "model.dropout=0.1,0.2,0.3")
    (best,) = summary(tmp_path)["best"]
    assert best["overrides"] == ["model.dropout=0.2"]


def test_importances_of_a_grid_are_its_main_effects(tmp_path: Path, logs: str) -> None:
    """Values: model ± 3, optimizer ± 1, seed ± 0.5. The variances are 9, 1 and 0.25; the whole is 10.25."""

    def outcome(job: Job) -> float:
        chosen = values(job)
        effects = (3 * (chosen["model"] == "cnn"), (chosen["optimizer"] == "sgd"), 0.5 * (chosen["seed"] == "1"))
        return float(2 * sum(effects))

    sweep(outcome, logs, "model=mlp,cnn", "optimizer=adamw,sgd", "seed=0,1")
    assert summary(tmp_path)["importances"] == {
        "model": pytest.approx(9 / 10.25, abs=1e-4),
        "optimizer": pytest.approx(1 / 10.25, abs=1e-4),
    }


def test_one_parameter_has_no_importance(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=10", "sweep.sampler=random")
    assert summary(tmp_path)["importances"] == {}


def test_the_seed_is_no_parameter_of_a_search(tmp_path: Path, logs: str) -> None:
    space = [DROPOUT, "optimizer.lr=interval(0.001, 0.1)", "seed=range(0,3)"]
    sweep(quadratic, logs, *space, "sweep.n_trials=20", "sweep.sampler=random")
    assert set(summary(tmp_path)["importances"]) == {"model.dropout", "optimizer.lr"}


@pytest.mark.parametrize("name", ["实验", "a b", "it's", 'a"b', "a=b,c", "#1 & (2)"])
def test_printed_commands_can_be_pasted(tmp_path: Path, name: str) -> None:
    """They are parsed back here as the shell and then Hydra read them."""
    path = str(tmp_path / name)
    sweep(lambda _: 0.5, override("paths.logs", path), "seed=1,2")
    (best,) = json.loads(next((Path(path) / "sweeps").glob("*/sweep.json")).read_text())["best"]
    arguments = shlex.split(best["commands"][0])
    assert arguments[:2] == ["python", "train.py"]
    parsed = {one.key_or_group: one.value() for one in parse(arguments[2:])}
    assert parsed == {"paths.logs": path, "seed": 1}


@pytest.mark.parametrize(
    ("name", "value"), [("val/acc", 0.9), ("val/loss", 0.2), ("seconds.training", 7.0), ("parameters", 50_890.0)]
)
def test_an_objective_is_found_in_the_report(name: str, value: float) -> None:
    report = {
        "objective": {"metric": "val/acc", "best": 0.9},
        "metrics": {"val/loss": 0.2},
        "seconds": {"training": 7},
        "parameters": 50_890,
    }
    assert objective(report, name) == value
