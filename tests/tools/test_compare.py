"""Comparisons of runs, from run folders that the tests write."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import ttest_rel

from leyden.errors import UserError
from leyden.tools.compare import default_metrics, note, pairs, ranked, table
from leyden.tools.comparison_table import as_csv, as_latex, as_markdown
from leyden.tools.configurations import configuration, differing
from leyden.tools.curves import curve, plot_curves
from leyden.tools.key_curves import lines, plot_against
from leyden.tools.read_runs import find_runs

ROOT = Path(__file__).resolve().parents[2]
MLP = {"_target_": "leyden.nets.mlp.MLP", "hidden": [8]}
CNN = {"_target_": "leyden.nets.cnn.CNN", "hidden": [9], "channels": [6]}
DIGITS = {"_target_": "leyden.data.digits.Digits", "mean": [0.305], "std": [0.361]}


def run(
    folder: Path,
    accuracy: float,
    seed: int,
    model: dict[str, Any] = MLP,
    lr: float = 0.1,
    state: str = "finished",
    data: dict[str, Any] = DIGITS,
    name: str = "digits-mlp",
    fold: int = 0,
    fingerprint: str = "0123",
) -> None:
    folder.mkdir(parents=True)
    config = {"seed": seed, "name": name, "paths": {"logs": str(folder)}, "model": model, "optimizer": {"lr": lr}}
    config["data"] = {**data, "seed": seed, "fold": fold}
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    report: dict[str, Any] = {"state": state, "name": name, "seconds": {"training": 10.0 * (seed + 1)}}
    report |= {"objective": {"metric": "val/acc", "mode": "max", "best": accuracy}, "epochs": 2, "parameters": 1234}
    report["fingerprint"] = fingerprint
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


def compare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "compare.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_row_is_a_configuration_with_its_spread(runs: Path) -> None:
    found, left_out = find_runs([runs, runs / "mlp-0"])
    assert len(found) == 8
    assert left_out == [f"{runs / 'pruned'}: is pruned; this run is left out"]
    header, rows = table(ranked(found, "val/acc", "max"), ["val/acc", "test/acc"])
    assert header == ["model", "optimizer.lr", "val/acc", "test/acc", "n", "parameters", "epochs", "seconds", "p"]
    assert [row[:2] for row in rows] == [["cnn", "0.1"], ["mlp", "0.1"], ["mlp", "0.5"]]
    assert rows[1][2] == (pytest.approx(0.6), pytest.approx(0.1))
    assert rows[1][3] == (pytest.approx(0.5), pytest.approx(0.1))
    assert [row[4] for row in rows] == [3, 3, 1]
    assert rows[1][5:8] == [1234, 2, 20]
    # By hand: differences 0.2, 0.25, 0.15; mean 0.2, deviation 0.05, t = 0.2 / (0.05 / √3) = 6.93
    assert rows[1][8] == pytest.approx(ttest_rel([0.2, 0.25, 0.15], [0, 0, 0]).pvalue)
    assert rows[1][8] == pytest.approx(0.0202, abs=1e-4)
    assert rows[0][8] is rows[2][8] is None


def test_seeds_of_own_photos_are_one_configuration(tmp_path: Path) -> None:
    for seed in range(3):
        measured = {
            "mean": [0.5 + seed / 100],
            "std": [0.2 + seed / 100],
            "cache": f"/{seed}/cache",
            "root": f"/{seed}",
        }
        data = {"_target_": "leyden.data.folder.Folder", **measured}
        run(tmp_path / f"{seed}", 0.5 + seed / 10, seed, data=data)
        run(tmp_path / f"fold-{seed}", 0.5, 0, CNN, data=data, fold=seed)
    groups = ranked(find_runs([tmp_path])[0], "val/acc")
    assert [len(group) for group in groups] == [3, 3]
    assert differing(groups) == ["model"]


def test_a_mean_that_the_config_gives_is_part_of_the_configuration(tmp_path: Path) -> None:
    run(tmp_path / "one", 0.5, 0)
    run(tmp_path / "other", 0.5, 1, data={**DIGITS, "mean": [0.0]})
    assert differing(ranked(find_runs([tmp_path])[0], "val/acc")) == ["data.mean"]


def test_series_from_two_places_are_one_configuration(tmp_path: Path) -> None:
    for seed, path in enumerate(["/here/sales.csv", "/there/sales.csv"]):
        run(tmp_path / f"{seed}", 0.5, seed, data={"_target_": "leyden.data.series.Series", "path": path})
    assert [len(group) for group in ranked(find_runs([tmp_path])[0], "val/acc")] == [2]


def test_other_files_under_the_same_config_are_another_configuration(tmp_path: Path) -> None:
    for seed, fingerprint in enumerate(["0123456789", "9876543210"]):
        data = {"_target_": "leyden.data.series.Series", "path": "/here/sales.csv"}
        run(tmp_path / f"{seed}", 0.5, seed, data=data, fingerprint=fingerprint)
        run(tmp_path / f"generated-{seed}", 0.1, seed, CNN, data={**data, "path": None}, fingerprint=fingerprint)
    groups = ranked(find_runs([tmp_path])[0], "val/acc")
    assert [len(group) for group in groups] == [1, 1, 2]
    assert "data.fingerprint" in differing(groups)


def test_choices_are_named_as_on_the_command_line(tmp_path: Path) -> None:
    for number, cell in enumerate(("gru", "lstm")):
        model = {"_target_": "leyden.nets.recurrent.Recurrent", "cell": cell}
        run(tmp_path / cell, 0.5 + number, 0, model, name=f"digits-{cell}")
    renamed = {"_target_": "leyden.nets.recurrent.Recurrent", "cell": "gru"}
    run(tmp_path / "renamed", 0.1, 1, renamed, name="mine")
    header, rows = table(ranked(find_runs([tmp_path])[0], "val/acc", "max"), ["val/acc"])
    assert header[0] == "model"
    assert [row[0] for row in rows] == ["lstm", "gru", "Recurrent"]


@pytest.mark.parametrize("metric", ["val/loss", "test/mae", "val/fcd"])
def test_a_loss_is_better_when_it_is_small(runs: Path, metric: str) -> None:
    found, _ = find_runs([runs])
    for one in found:
        one.report["metrics"][metric] = 1 - one.report["metrics"]["val/acc"]
    assert [len(group) for group in ranked(found, metric, None)] == [3, 3, 1]
    assert configuration(ranked(found, metric, None)[0][0])["model"] == "cnn"


def test_keys_that_follow_from_the_choice_of_a_model_are_not_shown(runs: Path) -> None:
    found, _ = find_runs([runs])
    assert differing(ranked(found, "val/acc", "max")) == ["model", "optimizer.lr"]


def test_an_unknown_metric_is_one_line(runs: Path) -> None:
    done = compare(runs, "--metrics", "test/nope")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[1:] == ["error: --metrics: no run has test/nope. The runs have test/acc, val/acc"]


def test_runs_without_the_metric_get_a_dash_and_are_last(runs: Path) -> None:
    found, _ = find_runs([runs])
    for one in found:
        one.report["metrics"]["val/f1"] = float("nan") if "channels" in str(one.config) else one.metric("val/acc")
    header, rows = table(ranked(found, "val/f1"), ["val/f1"])
    assert [row[0] for row in rows] == ["mlp", "mlp", "cnn"]
    assert as_markdown(header, rows).splitlines()[4].startswith("| cnn | 0.1 | – | 3 |")


def test_the_test_metric_is_a_column_if_a_run_has_it(runs: Path) -> None:
    found, _ = find_runs([runs])
    assert default_metrics(found) == ["val/acc", "test/acc"]
    for one in found:
        del one.report["metrics"]["test/acc"]
    assert default_metrics(found) == ["val/acc"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("report.json", b""),
        ("report.json", b"[]"),
        ("report.json", b'{"state": "finished"}'),
        ("report.json", b'{"state": '),
        ("report.json", b"\xff\xfe\xff"),
        ("report.json", b"[" * 100_000),
        ("config.yaml", b"{"),
        ("config.yaml", b"- 1\n"),
        ("config.yaml", b"seed: 1\n"),
        ("config.yaml", b""),
    ],
)
def test_a_damaged_run_is_skipped_with_one_line(runs: Path, file: str, content: bytes) -> None:
    (runs / "mlp-0" / file).write_bytes(content)
    found, left_out = find_runs([runs])
    assert len(found) == 7
    assert len(left_out) == 2
    assert str(runs / "mlp-0") in left_out[0]
    assert "\n" not in left_out[0]


def test_control_characters_are_not_printed(tmp_path: Path) -> None:
    run(tmp_path / "one", 0.5, 0)
    hostile = {**MLP, "hid\x1b[2Jden": "\x1b]0;title\x07"}
    run(tmp_path / "other", 0.6, 0, hostile, name="\x1b[31mred")
    for extra in ([], ["--format", "csv"]):
        done = compare(tmp_path, *extra)
        assert done.returncode == 0
        assert done.stdout
        assert all(character.isprintable() or character == "\n" for character in done.stdout + done.stderr)


def test_markdown_and_csv(runs: Path) -> None:
    found, _ = find_runs([runs])
    header, rows = table(ranked(found, "val/acc", "max"), ["val/acc"])
    assert (
        as_markdown(header, rows).splitlines()[3] == "| mlp | 0.1 | 0.6000 ± 0.1000 | 3 | 1,234 | 2.0 | 20.0 | 0.020 |"
    )
    lines = as_csv(header, rows).splitlines()
    assert lines[0] == "model,optimizer.lr,val/acc,val/acc std,n,parameters,epochs,seconds,p"
    assert lines[3] == "mlp,0.5,0.3,,1,1234,2.0,10.0,"


def test_runs_are_grouped_by_any_key(runs: Path) -> None:
    found, _ = find_runs([runs])
    for keys, expected in (
        (["optimizer.lr"], [("0.1", 6), ("0.5", 1)]),
        (["seed"], [("2", 2), ("1", 2), ("0", 3)]),
        (["model"], [("cnn", 3), ("mlp", 4)]),
    ):
        header, rows = table(ranked(found, "val/acc", "max", keys), ["val/acc"], keys)
        assert header == [*keys, "val/acc", "n", "parameters", "epochs", "seconds", "p"]
        assert [(row[0], row[2]) for row in rows] == expected
    header, rows = table(ranked(found, "val/acc", "max", ["model", "optimizer.lr"]), ["val/acc"], ["model"])
    assert [row[0] for row in rows] == ["cnn", "mlp", "mlp"]


def test_a_pair_of_grouped_runs_is_equal_in_all_other_keys(tmp_path: Path) -> None:
    for seed in range(2):
        for number, model in enumerate((MLP, CNN)):
            for lr in (0.1, 0.2):
                accuracy = 0.5 + seed / 10 + number / 20 + lr / 4 + seed * number * lr / 8
                run(tmp_path / f"{seed}-{number}-{lr}", accuracy, seed, model, lr)
    groups = ranked(find_runs([tmp_path])[0], "val/acc", "max", ["optimizer.lr"])
    compared = pairs(groups, groups[1], "val/acc", ["optimizer.lr"])
    assert len(compared) == 4
    differences = [0.1 / 4 + seed * number * 0.1 / 8 for number in range(2) for seed in range(2)]
    assert sorted(a - b for a, b in compared) == pytest.approx(sorted(differences))
    _, rows = table(groups, ["val/acc"], ["optimizer.lr"])
    assert rows[1][-1] == pytest.approx(ttest_rel(differences, [0, 0, 0, 0]).pvalue)


def test_an_unknown_key_is_one_line(runs: Path) -> None:
    done = compare(runs, "--by", "optimizer.lrr")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[1:] == ["error: --by: no run has optimizer.lrr, did you mean optimizer.lr?"]


def test_too_few_seeds_for_a_test_are_a_note(runs: Path) -> None:
    found, _ = find_runs([runs])
    groups = ranked(found, "val/acc", "max")
    assert note(groups, "val/acc") == (
        "note: 1 of 3 rows share fewer than 3 seeds or folds with the best row. That is too few for a test: their "
        "difference from it may be chance"
    )
    assert note(groups[:2], "val/acc") == note(groups[:1], "val/acc") == ""
    assert note(groups, "val/acc") in compare(runs, "--format", "csv").stderr


def test_latex(tmp_path: Path) -> None:
    run(tmp_path / "one", 0.5, 0, {**MLP, "act_50%": "a&b\\"}, name="x")
    run(tmp_path / "other", 0.4, 0, {**MLP, "act_50%": "c_d"}, name="x")
    header, rows = table(ranked(find_runs([tmp_path])[0], "val/acc", "max"), ["val/acc"])
    lines = as_latex(header, rows).splitlines()
    assert lines[1] == "\\begin{tabular}{lrrrrrr}"
    assert lines[3] == "model.act\\_50\\% & val/acc & n & parameters & epochs & seconds & p \\\\"
    assert lines[5:] == [
        "a\\&b\\textbackslash{} & $0.5000$ & 1 & 1,234 & 2.0 & 10.0 & -- \\\\",
        "c\\_d & $0.4000$ & 1 & 1,234 & 2.0 & 10.0 & -- \\\\",
        "\\bottomrule",
        "\\end{tabular}",
    ]


def test_curves_are_means_over_seeds(runs: Path, tmp_path: Path) -> None:
    groups = ranked(find_runs([runs])[0], "val/acc", "max")
    assert curve(groups[1], "val/acc") == [
        (1, pytest.approx(0.3), pytest.approx(0.05)),
        (2, pytest.approx(0.6), pytest.approx(0.1)),
    ]
    plot_curves(groups, "val/acc", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="no run logged val/nope"):
        curve(groups[0], "val/nope")


def test_a_folder_without_runs_is_one_line(tmp_path: Path) -> None:
    done = compare(tmp_path)
    assert (done.returncode, done.stderr) == (2, f"error: {tmp_path}: contains no finished run\n")


def test_a_metric_against_a_key_is_a_line_per_configuration(runs: Path, tmp_path: Path) -> None:
    found, _ = find_runs([runs])
    assert lines(found, "test/acc", "optimizer.lr", ["model"]) == {
        "model=cnn": [(0.1, pytest.approx(0.7), pytest.approx(0.0866, abs=1e-4))],
        "model=mlp": [(0.1, pytest.approx(0.5), pytest.approx(0.1)), (0.5, pytest.approx(0.2), 0.0)],
    }
    plot_against(found, "test/acc", "optimizer.lr", tmp_path / "labels.png", ["model"])
    assert (tmp_path / "labels.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match=r"^--x: got name, whose value digits-mlp is not a number"):
        lines(found, "test/acc", "name")
    with pytest.raises(UserError, match=r"^--by: no run has data\.lables"):
        lines(found, "test/acc", "data.lables")
