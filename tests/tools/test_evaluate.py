"""Evaluation of finished runs: the metrics of their reports again, and one line for each mistake."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leyden.config.stored import harmless
from leyden.errors import UserError
from leyden.tools.evaluate import evaluate, evaluate_folds
from leyden.tools.evaluation_output import print_folds
from leyden.tools.evaluator import with_locations
from tests.tools.conftest import script

TINY = ("model=mlp", "model.hidden=[8]", "trainer.max_epochs=1", "trainer.accelerator=cpu")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "64-true"])
def test_metrics_are_those_of_the_report_in_the_runs_precision(finished: Callable[..., Path], precision: str) -> None:
    folder = finished(*TINY, f"trainer.precision={precision}")
    reported = json.loads((folder / "report.json").read_text())["metrics"]
    for split in ("val", "test"):
        metrics = evaluate(folder, split, accelerator="cpu")
        expected = {name: value for name, value in reported.items() if name.startswith(f"{split}/")}
        assert {name: metrics[name] for name in expected} == expected


def test_all_samples_are_evaluated(finished: Callable[..., Path]) -> None:
    folder = finished(*TINY, "data.eval_batch_size=100", "trainer.limit_test_batches=1")
    reported = json.loads((folder / "report.json").read_text())["metrics"]
    assert evaluate(folder, accelerator="cpu")["test/loss"] != pytest.approx(reported["test/loss"])


def test_changed_data_is_reported(finished: Callable[..., Path], tmp_path: Path, capsys: Any) -> None:
    series = tmp_path / "series.csv"
    series.write_text("value\n" + "\n".join(str(step % 7) for step in range(300)))
    folder = finished("data=series", f"data.path={series}", *TINY)
    evaluate(folder, accelerator="cpu")
    assert "warning" not in capsys.readouterr().err
    other = tmp_path / "other.csv"
    other.write_text(series.read_text() + "\n7")
    evaluate(folder, accelerator="cpu", data_path=str(other))
    assert "warning" not in capsys.readouterr().err
    series.write_text(other.read_text())
    evaluate(folder, accelerator="cpu")
    assert "warning: data: the files have changed since this run began" in capsys.readouterr().err


def test_the_data_may_be_elsewhere() -> None:
    assert with_locations({"_target_": "a.B", "root": "x"}, root="y", path=None) == {"_target_": "a.B", "root": "y"}


def test_nothing_is_downloaded_or_written_elsewhere(tmp_path: Path) -> None:
    spec = {"_target_": "a.B", "mirrors": ["http://localhost/"], "download": True, "cache": str(tmp_path), "root": "x"}
    assert harmless(spec) == {**spec, "download": False, "mirrors": [], "cache": "data/cache"}
    assert harmless({"_target_": "a.B", "path": None}) == {"_target_": "a.B", "path": None}


@pytest.mark.filterwarnings("ignore:.*taken as it is:UserWarning")
def test_missing_data_is_one_line(mnist_root: Path, finished: Callable[..., Path], tmp_path: Path) -> None:
    folder = finished("data=mnist", f"data.root={mnist_root}", "data.verify=false", *TINY)
    with pytest.raises(UserError, match=r"ubyte: does not exist\. Name the folder of the data with --data-root"):
        evaluate(folder, data_root=str(tmp_path / "elsewhere"), accelerator="cpu")
    assert not (tmp_path / "elsewhere").exists()


def test_a_location_that_the_data_does_not_have_is_one_line(finished: Callable[..., Path]) -> None:
    folder = finished("data=series", "data.num_steps=400", *TINY)
    message = "--data-root: the data set of this run (Series) has no key data.root. Use --data-path"
    assert script("evaluate", folder, "--data-root", "photos") == (2, "", f"error: {message}\n")
    with pytest.raises(UserError, match="--accelerator: got tpu, must be one of auto, cpu, gpu, cuda, mps"):
        evaluate(folder, accelerator="tpu")


def test_folds(finished: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    folds = [finished(*TINY, "data.num_folds=3", f"data.fold={fold}") for fold in (0, 2)]
    found = evaluate_folds(folds[::-1], accelerator="cpu")
    assert list(found["folds"]) == [0, 2]
    for fold, folder in zip((0, 2), folds, strict=True):
        reported = json.loads((folder / "report.json").read_text())["metrics"]
        assert found["folds"][fold] == {name: value for name, value in reported.items() if name.startswith("val/")}
    accuracies = [metrics["val/acc"] for metrics in found["folds"].values()]
    assert found["mean"]["val/acc"] == pytest.approx(sum(accuracies) / 2)
    assert evaluate_folds([folds[0].parent], accelerator="cpu") == found
    print_folds(found)
    assert "Only 2 of 3 folds were given" in capsys.readouterr().out
    other = finished(*TINY, "data.num_folds=3", "data.fold=1", "model.hidden=[4]")
    for runs, message in (
        ([folds[0], folds[0]], "are both fold 0"),
        ([folds[0], other], "model.hidden of .* differ"),
        ([finished(*TINY)], r"has no folds \(data.num_folds is 0\)"),
    ):
        with pytest.raises(UserError, match=f"--folds: .*{message}"):
            evaluate_folds(runs, accelerator="cpu")
