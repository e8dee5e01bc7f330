"""The results table: what its figures are, and that writing them twice is writing them once."""

from pathlib import Path
from typing import Any

import yaml

from leyden.config.compose import CONF
from scripts.results import COMMANDS, ONE_SEED, known, reached, row, write_header


def report(seed: int, value: float, metric: str = "acc", seconds: float = 10.0) -> dict[str, Any]:
    return {
        "seed": seed, "objective": {"metric": f"val/{metric}"},
        "metrics": {f"test/{metric}": value, f"val/{metric}": value - 0.01},
        "seconds": {"training": seconds}, "parameters": 1234, "epochs": 5, "device": "cpu (x86_64, 2 threads)",
        "data": {"name": "MNIST", "verified": True}, "versions": {"torch": "2"},
    }  # fmt: skip


def test_mean_and_standard_deviation_of_the_objective_on_test() -> None:
    assert reached([report(0, 0.97), report(1, 0.98), report(2, 0.99)], "test") == "accuracy 98.00 ± 1.00%"
    assert reached([report(0, 0.9711, "exact")], "val") == "exact match 96.11%"
    assert reached([report(0, 98.8, "loss"), report(1, 98.6, "loss")], "test") == "loss 98.7 ± 0.14"


def test_a_row_says_which_seed_where_there_is_but_one() -> None:
    figures = "accuracy 90.00% (seed 4) | accuracy 89.00%"
    cost = "1,234 | 5 | 10 s, cpu (x86_64, 2 threads)"
    assert row("model=mlp", [report(4, 0.9)]) == f"| `python train.py model=mlp` | {figures} | {cost} |"
    assert "seed" not in row("model=mlp", [report(0, 0.9), report(1, 0.9)])


def test_a_recipe_says_once_what_it_reached_and_stays_what_it_was(tmp_path: Path) -> None:
    recipe = CONF / "experiment" / "mnist_mlp_sgd.yaml"
    copy = tmp_path / "recipe.yaml"
    copy.write_text(recipe.read_text())
    write_header(copy, [report(0, 0.5)])
    write_header(copy, [report(0, 0.97), report(1, 0.99)])
    said = [line for line in copy.read_text().splitlines() if "reached" in line]
    figures = "test accuracy 98.00 ± 1.41%, validation accuracy 97.00 ± 1.41%"
    assert said == [f"# reached: {figures} (seeds 0, 1; 10 s each on cpu (x86_64, 2 threads))"]
    assert yaml.safe_load(copy.read_text()) == yaml.safe_load(recipe.read_text())
    assert copy.read_text().splitlines()[:2] == recipe.read_text().splitlines()[:2]


def test_an_override_is_for_the_runs_that_have_its_key() -> None:
    assert known(["data.verify=false", "seed=1"], ["data=mnist"]) == ["data.verify=false", "seed=1"]
    assert known(["data.verify=false"], ["data=diabetes", "model=mlp"]) == []


def test_every_recipe_is_in_the_table() -> None:
    recipes = {f"experiment={path.stem}" for path in (CONF / "experiment").glob("*.yaml")}
    assert recipes == {command for command in COMMANDS if command.startswith("experiment=")}
    assert set(COMMANDS) >= ONE_SEED
