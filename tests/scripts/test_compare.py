"""Runs side by side, from run folders that are made up."""

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import ttest_rel

from scripts.compare import as_csv, as_markdown, curve, differing, draw, find_runs, ranked, table

MLP, CNN = "leyden.nets.mlp.MLP", "leyden.nets.cnn.CNN"


def run(folder: Path, accuracy: float, seed: int, target: str = MLP, lr: float = 0.1, state: str = "finished") -> None:
    folder.mkdir(parents=True)
    extra = f"  channels: [6]\n  hidden: [{9 if target == CNN else 8}]\n" if target == CNN else "  hidden: [8]\n"
    config = f"seed: {seed}\nname: x\npaths:\n  logs: {folder}\nmodel:\n  _target_: {target}\n{extra}optimizer:\n"
    (folder / "config.yaml").write_text(config + f"  lr: {lr}\ndata:\n  seed: {seed}\n")
    report: dict[str, Any] = {"state": state, "name": "x", "seconds": {"training": 10.0 * (seed + 1)}}
    report |= {"objective": {"metric": "val/acc", "mode": "max", "best": accuracy}}
    report |= {"metrics": {"val/acc": accuracy, "test/acc": accuracy - 0.1}}
    (folder / "report.json").write_text(json.dumps(report))
    lines = [f"{epoch},{epoch * 10},{accuracy * (epoch + 1) / 2}" for epoch in range(2)]
    (folder / "metrics.csv").write_text("\n".join(["epoch,step,val/acc", *lines]) + "\n")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in range(3):
        run(tmp_path / f"mlp-{seed}", 0.5 + seed / 10, seed)
        run(tmp_path / f"cnn-{seed}", [0.7, 0.85, 0.85][seed], seed, CNN)
    run(tmp_path / "again" / "mlp-2", 0.7, 2)
    run(tmp_path / "fast", 0.3, 0, lr=0.5)
    run(tmp_path / "pruned", 0.9, 0, lr=0.9, state="pruned")
    return tmp_path


def test_a_row_is_a_configuration_with_its_spread(runs: Path) -> None:
    found, left_out = find_runs([runs, runs / "mlp-0"])
    assert (len(found), left_out) == (8, 1)
    header, rows = table(ranked(found, "val/acc", "max"), ["val/acc", "test/acc"])
    assert header == ["model", "optimizer.lr", "val/acc", "test/acc", "n", "seconds", "p"]
    assert [row[:2] for row in rows] == [["CNN", "0.1"], ["MLP", "0.1"], ["MLP", "0.5"]]
    assert rows[1][2] == (pytest.approx(0.6), pytest.approx(0.1))
    assert rows[1][3] == (pytest.approx(0.5), pytest.approx(0.1))
    assert [row[4] for row in rows] == [3, 3, 1]
    assert rows[1][5] == 20
    # Hand: differences 0.2, 0.25, 0.15; mean 0.2, deviation 0.05, t = 0.2 / (0.05 / √3) = 6.93
    assert rows[1][6] == pytest.approx(ttest_rel([0.2, 0.25, 0.15], [0, 0, 0]).pvalue)
    assert rows[1][6] == pytest.approx(0.0202, abs=1e-4)
    assert rows[0][6] is rows[2][6] is None


@pytest.mark.parametrize("metric", ["val/loss", "test/mae", "val/fcd"])
def test_a_loss_is_better_when_it_is_small(runs: Path, metric: str) -> None:
    found, _ = find_runs([runs])
    for one in found:
        one.report["metrics"][metric] = 1 - one.report["metrics"]["val/acc"]
    assert [len(group) for group in ranked(found, metric, None)] == [3, 3, 1]
    assert ranked(found, metric, None)[0][0].config["model._target_"] == CNN


def test_what_follows_from_another_class_is_no_difference(runs: Path) -> None:
    found, _ = find_runs([runs])
    assert differing(ranked(found, "val/acc", "max")) == ["model._target_", "optimizer.lr"]


def test_markdown_and_csv(runs: Path) -> None:
    found, _ = find_runs([runs])
    header, rows = table(ranked(found, "val/acc", "max"), ["val/acc"])
    assert as_markdown(header, rows).splitlines()[3] == "| MLP | 0.1 | 0.6000 ± 0.1000 | 3 | 20.0 | 0.020 |"
    lines = as_csv(header, rows).splitlines()
    assert lines[0] == "model,optimizer.lr,val/acc,val/acc std,n,seconds,p"
    assert lines[3] == "MLP,0.5,0.3,,1,10.0,"


def test_curves_are_means_over_seeds(runs: Path, tmp_path: Path) -> None:
    groups = ranked(find_runs([runs])[0], "val/acc", "max")
    assert curve(groups[1], "val/acc") == [
        (1, pytest.approx(0.3), pytest.approx(0.05)),
        (2, pytest.approx(0.6), pytest.approx(0.1)),
    ]
    draw(groups, "val/acc", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
