"""What an evaluation writes: values of the tables, plots of many classes, and other data than that of the run."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leyden.errors import UserError
from leyden.metrics.calibration import bins, fit_temperature
from leyden.tools.class_plots import plot_confusion, top_confusions
from leyden.tools.evaluation_files import evaluation_folder
from leyden.tools.evaluation_report import finite
from leyden.tools.evaluator import Evaluator
from leyden.tools.figures import short
from leyden.tools.other_data import folder_name
from leyden.tools.threshold_plots import plot_precision_recall, plot_roc
from tests.tools.conftest import Folders, script


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def metrics_of(folder: Path, split: str) -> dict[str, float]:
    reported = json.loads((folder / "report.json").read_text())["metrics"]
    return {name: value for name, value in reported.items() if name.startswith(f"{split}/")}


def test_tables_of_a_classifier(run_of: Folders, evaluated: Folders) -> None:
    written = evaluated("classification")
    report = json.loads((run_of("classification") / "report.json").read_text())
    predictions = rows(written / "predictions.csv")
    confusion = np.zeros((10, 10), int)
    for row in predictions:
        confusion[int(row["target"]), int(row["prediction"])] += 1
    assert confusion.tolist() == report["confusion"]
    correct = torch.tensor([row["target"] == row["prediction"] for row in predictions])
    assert float(correct.double().mean()) == pytest.approx(report["metrics"]["test/acc"])
    confidence = torch.tensor([float(row["probability"]) for row in predictions])
    calibration = json.loads((written / "metrics.json").read_text())["calibration"]
    assert calibration["ece"] == pytest.approx(bins(confidence, correct).error)
    assert (calibration["bins"], calibration["fitted_on"]) == (15, "val")
    classes = rows(written / "classes.csv")
    assert [row["class"] for row in classes] == list("0123456789")
    assert [int(row["support"]) for row in classes] == confusion.sum(1).tolist()
    for name in ("precision", "recall", "f1", "auroc"):
        mean = sum(float(row[name]) for row in classes) / 10
        assert mean == pytest.approx(report["metrics"][f"test/{name}"], abs=1e-6)


def test_tables_of_the_other_tasks(run_of: Folders, evaluated: Folders) -> None:
    tasks = ("multilabel", "transcription", "regression", "forecasting", "autoencoder")
    found = {task: rows(evaluated(task) / "predictions.csv") for task in tasks}
    exact = [row["target"] == row["prediction"] for row in found["multilabel"]]
    assert sum(exact) / 64 == pytest.approx(metrics_of(run_of("multilabel"), "test")["test/exact"])
    labels = rows(evaluated("multilabel") / "classes.csv")
    f1 = sum(float(row["f1"]) for row in labels) / 10
    assert f1 == pytest.approx(metrics_of(run_of("multilabel"), "test")["test/f1"], abs=1e-6)
    exact = [row["target"] == row["prediction"] for row in found["transcription"]]
    assert sum(exact) / 64 == pytest.approx(metrics_of(run_of("transcription"), "test")["test/exact"])
    for task in ("regression", "forecasting"):
        errors = [abs(float(row["target"]) - float(row["prediction"])) for row in found[task]]
        mean = sum(errors) / len(errors)
        assert mean == pytest.approx(metrics_of(run_of(task), "test")["test/mae"], rel=1e-5)
    naive = [abs(float(row["target"]) - float(row["naive"])) for row in found["forecasting"]]
    ratio = metrics_of(run_of("forecasting"), "test")["test/mae_vs_naive"]
    assert mean / (sum(naive) / len(naive)) == pytest.approx(ratio, rel=1e-5)
    anomalies = np.array([row["target"] == "0" for row in found["autoencoder"]])
    scores = np.array([float(row["score"]) for row in found["autoencoder"]])
    above = (scores[anomalies][:, None] > scores[~anomalies]).mean()
    assert above == pytest.approx(metrics_of(run_of("autoencoder"), "test")["test/auroc"], abs=1e-6)


def test_the_temperature_is_fitted_on_the_validation_split(run_of: Folders, evaluated: Folders) -> None:
    val = Evaluator(run_of("classification"), accelerator="cpu").evaluate("val")
    assert val.outputs is not None
    written = json.loads((evaluated("classification") / "metrics.json").read_text())
    assert written["calibration"]["temperature"] == fit_temperature(val.outputs, val.targets)


def test_nothing_is_written_through_links(tmp_path: Path) -> None:
    (tmp_path / "run" / "evaluation").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "evaluation" / "test").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="evaluation/test: is a symbolic link"):
        evaluation_folder(tmp_path / "run", "test")
    (tmp_path / "run" / "evaluation" / "val").write_text("a file")
    with pytest.raises(UserError, match=r"evaluation/val: cannot be created .*--no-files writes nothing"):
        evaluation_folder(tmp_path / "run", "val")


def test_no_files(run_of: Folders) -> None:
    folder = run_of("classification")
    before = set(folder.rglob("*"))
    code, output, _ = script("evaluate", folder, "--split", "val", "--no-files", "--accelerator", "cpu")
    assert code == 0
    assert set(folder.rglob("*")) == before
    assert "digits-cnn on val" in output


def test_names_of_folders_and_numbers_of_json(tmp_path: Path) -> None:
    assert [folder_name(Path(name)) for name in ("a/photos", "test", "my photos!", "x.csv")] == [
        "photos", "data-test", "my_photos_", "x.csv"
    ]  # fmt: skip
    assert [short(name, 6) for name in ("abcdef", "abcdefgh", "a\nb")] == ["abcdef", "abc…gh", "a\\nb"]
    assert finite({"a": [1.0, float("nan")], "b": (float("inf"), "x")}) == {"a": [1.0, None], "b": [None, "x"]}


@pytest.mark.filterwarnings("error")
def test_plots_of_a_thousand_classes_and_of_strange_names(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    names = [f"$class_{number}^ 类" for number in range(40)]
    labels, scores = torch.arange(200) % 39, torch.rand(200, 40, generator=rng)  # the last class is absent
    members = torch.nn.functional.one_hot(labels, 40).bool()
    confusion = torch.zeros(40, 40, dtype=torch.int64)
    confusion[3, 5], confusion[7, 7], confusion[0, 39] = 9, 100, 2
    assert top_confusions(confusion, names) == [(names[3], names[5], 9), (names[0], names[39], 2)]
    plot_confusion(tmp_path / "confusion.png", confusion, names, "title")
    plot_roc(tmp_path / "roc.png", scores, members, names, "title")
    plot_precision_recall(tmp_path / "precision.png", scores, members, names, "title")
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_other_images(run_of: Folders, tmp_path: Path) -> None:
    folder = run_of("classification")
    evaluator = Evaluator(folder, accelerator="cpu")
    evaluator.data.setup("test")
    assert evaluator.data.test is not None
    images, labels = (values[:40] for values in evaluator.data.test)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        path = tmp_path / "test" / str(label) / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(path)
    found = evaluator.evaluate_other(tmp_path / "test")
    logits = evaluator.module(evaluator.module_inputs(images))
    assert found.metrics["test/acc"] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    broken = tmp_path / "test" / "0" / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    arguments = ("--data", tmp_path / "test", "--json", "--accelerator", "cpu")
    code, output, errors = script("evaluate", folder, *arguments)
    assert code == 1
    assert json.loads(output) == found.metrics
    assert f"error: --data: {broken}: cannot be read" in errors
    predictions = rows(folder / "evaluation" / "data-test" / "predictions.csv")
    assert len(predictions) == 40
    assert {row["target"] for row in predictions if f"{tmp_path}/test/3/" in row["source"]} == {"3"}
    (tmp_path / "test" / "cat").mkdir()
    with pytest.raises(UserError, match=r"--data: .*cat is not one of the classes of the run, which are 0, 1"):
        evaluator.evaluate_other(tmp_path / "test")


def test_other_tables_and_series(run_of: Folders, tmp_path: Path) -> None:
    evaluator = Evaluator(run_of("regression"), accelerator="cpu")
    expected = evaluator.evaluate("test")
    names = evaluator.data.feature_names()  # type: ignore[attr-defined]
    table = tmp_path / "patients.csv"

    def write(header: list[str], lines: list[list[float]]) -> None:
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([header, *lines])

    lines = torch.cat([expected.targets, expected.inputs], 1).tolist()
    write(["progression", *names], lines)
    assert evaluator.evaluate_other(table).metrics == expected.metrics
    write(["note", *names], [["many", *line[1:]] for line in lines])  # type: ignore[list-item]
    with pytest.raises(UserError, match=r"--data: .*patients.csv:2: note is 'many', must be a number"):
        evaluator.evaluate_other(table)
    write([*names], [line[1:] for line in lines])
    with pytest.raises(UserError, match="has no other column next to the features; it must have one target"):
        evaluator.evaluate_other(table)
    write(["target", *names[1:]], [line[1:] for line in lines])
    with pytest.raises(UserError, match=r"patients.csv: has no column age; the features are age, sex"):
        evaluator.evaluate_other(table)

    series = Evaluator(run_of("forecasting"), accelerator="cpu")
    steps = tmp_path / "series.csv"
    steps.write_text("value\n" + "\n".join(str(step % 5) for step in range(100)))
    found = series.evaluate_other(steps)
    assert len(found.targets) == 100 - 48 - 12 + 1
    assert found.inputs[3, :, 0].tolist() == [(3 + step) % 5 for step in range(48)]
    steps.write_text("value\n1\n2")
    with pytest.raises(UserError, match=r"--data: .*series.csv has 2 steps, at least 60 are needed"):
        series.evaluate_other(steps)


@pytest.mark.parametrize("task", ["multilabel", "transcription"])
def test_other_data_that_does_not_apply_is_one_line(task: str, run_of: Folders, tmp_path: Path) -> None:
    evaluator = Evaluator(run_of(task), accelerator="cpu")
    with pytest.raises(UserError, match=f"--data: does not apply to task={task} on"):
        evaluator.evaluate_other(tmp_path)
    with pytest.raises(UserError, match=r"--data: .*nowhere does not exist"):
        evaluator.evaluate_other(tmp_path / "nowhere")
