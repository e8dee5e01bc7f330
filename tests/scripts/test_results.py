"""RESULTS.md: what its rows say, and that writing a result twice leaves one."""

from pathlib import Path
from typing import Any

import yaml

from leyden.config.compose import CONF
from scripts.results import COMMANDS, ONE_SEED, kept_rows, known, page, reached, row, write_header


def report(
    seed: int, value: float, metric: str = "acc", seconds: float = 10.0, verified: bool = True
) -> dict[str, Any]:
    return {
        "seed": seed, "objective": {"metric": f"val/{metric}"},
        "metrics": {f"test/{metric}": value, f"val/{metric}": value - 0.01},
        "seconds": {"training": seconds}, "parameters": 1234, "epochs": 5, "device": "cpu (x86_64, 2 threads)",
        "data": {"name": "MNIST", "verified": verified}, "versions": {"torch": "2"}, "git": {"commit": "0123456789"},
    }  # fmt: skip


def test_mean_and_standard_deviation_of_the_objective_on_test() -> None:
    assert reached([report(0, 0.97), report(1, 0.98), report(2, 0.99)], "test") == "accuracy 98.00 ± 1.00%"
    assert reached([report(0, 0.9711, "exact")], "val") == "exact match 96.11%"
    assert reached([report(0, 98.8, "loss"), report(1, 98.6, "loss")], "test") == "loss 98.7 ± 0.14"


def test_a_row_names_seeds_cost_hardware_and_commit() -> None:
    cost = "4, 7 | 1,234 | 5 | 1.5 s | cpu (x86_64, 2 threads) | 0123456"
    expected = f"| `python train.py model=mlp` | accuracy 90.00 ± 0.00% | accuracy 89.00 ± 0.00% | {cost} |"
    assert row("model=mlp", [report(4, 0.9, seconds=1), report(7, 0.9, seconds=2)]) == expected


def test_unofficial_data_is_named() -> None:
    assert "checksums" not in page([("", [report(0, 0.9)])], {})
    assert "MNIST did not have the published checksums" in page([("", [report(0, 0.9, verified=False)])], {})


def test_an_experiment_has_one_result_line_and_is_otherwise_unchanged(tmp_path: Path) -> None:
    original = CONF / "experiment" / "mnist_mlp_sgd.yaml"
    copy = tmp_path / "copy.yaml"
    copy.write_text(original.read_text())
    write_header(copy, [report(0, 0.5)])
    write_header(copy, [report(0, 0.97), report(1, 0.99)])
    lines = [line for line in copy.read_text().splitlines() if line.startswith("# result")]
    metrics = "test accuracy 98.00 ± 1.41%, validation accuracy 97.00 ± 1.41%"
    assert lines == [f"# result: {metrics} (seeds 0, 1; 10 s each on cpu (x86_64, 2 threads); commit 0123456)"]
    assert yaml.safe_load(copy.read_text()) == yaml.safe_load(original.read_text())
    assert copy.read_text().splitlines()[:2] == original.read_text().splitlines()[:2]


def test_an_override_is_for_the_runs_that_have_its_key() -> None:
    assert known(["data.verify=false", "seed=1"], ["data=mnist"]) == ["data.verify=false", "seed=1"]
    assert known(["data.verify=false"], ["data=diabetes", "model=mlp"]) == []


def test_every_experiment_is_in_the_table() -> None:
    experiments = {f"experiment={path.stem}" for path in (CONF / "experiment").glob("[!_]*.yaml")}
    assert experiments == {command for command in COMMANDS if command.startswith("experiment=")}
    assert set(COMMANDS) >= ONE_SEED


def test_other_rows_are_kept() -> None:
    before = page([("model=mlp data=mnist", [report(0, 0.9)])], {})
    after = page([("", [report(0, 0.8)])], kept_rows(before))
    assert [line.split("`")[1] for line in after.splitlines() if line.startswith("| `")] == [
        "python train.py",
        "python train.py model=mlp data=mnist",
    ]
    assert "accuracy 90.00%" in after
    assert "accuracy 80.00%" in after
