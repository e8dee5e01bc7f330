"""The summary of a sweep."""

import json
from pathlib import Path

from leyden.sweep.runners import Job
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
