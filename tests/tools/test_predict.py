"""Prediction of files: folders, patterns, CSV files and lists, in order, with broken files among them."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leyden.errors import UserError
from leyden.tools.input_files import files, find_inputs
from leyden.tools.predict import batched, predict
from leyden.tools.trained_model import TrainedModel
from tests.conftest import ROOT
from tests.tools.conftest import Models, script


@pytest.fixture
def model(model_of: Models) -> TrainedModel:
    return model_of("classification")


def write_images(folder: Path, num: int) -> list[Path]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:03}.png" for number in range(num)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8)).save(path)
    return paths


def test_files_are_predicted_in_order_and_broken_ones_named(model: TrainedModel, tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images", 150)
    paths[70].write_bytes(b"\x89PNG\r\n\x1a\n truncated")
    results = list(predict(model, find_inputs(model, [str(tmp_path / "images")]), batch_size=16))
    assert [result.name for result in results] == [str(path) for path in paths]
    assert [result.name for result in results if result.prediction is None] == [str(paths[70])]
    assert str(paths[70]) in results[70].error
    whole = model.predict([path for path in paths if path != paths[70]])
    for result, expected in zip([r for r in results if r.prediction], whole, strict=True):
        assert result.prediction is not None
        assert result.prediction.prediction == expected.prediction
        assert result.prediction.probability == pytest.approx(expected.probability, abs=1e-6)


def test_folders_patterns_and_files(tmp_path: Path) -> None:
    one, two = write_images(tmp_path / "a" / "b", 2)
    (tmp_path / "a" / "notes.txt").write_text("text")
    (tmp_path / "a" / ".hidden.png").write_text("text")
    assert files(str(tmp_path), (".png",)) == [one, two]
    assert files(f"{tmp_path}/**/*.png", (".png",)) == [one, two]
    assert files(str(one), (".jpg",)) == [one]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: contains no files that end in \.png"):
        files(str(tmp_path / "empty"), (".png",))
    with pytest.raises(UserError, match="nothing: does not exist"):
        files(str(tmp_path / "nothing"), (".png",))
    with pytest.raises(UserError, match=r"emp\*: matches no file"):
        files(str(tmp_path / "emp*"), (".png",))
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_rows_and_series_of_csv_files(model_of: Models, tmp_path: Path) -> None:
    table = model_of("regression")
    names = table.data.feature_names()  # type: ignore[attr-defined]
    path = tmp_path / "patients.csv"
    path.write_text(f"{','.join(names)},other\n" + ",".join("1" * 10) + ",x\n" + ",".join("2" * 9) + ",heavy,x\n")
    good, bad = predict(table, find_inputs(table, [str(path)]))
    assert good.name == f"{path}:2"
    assert good.prediction is not None
    assert good.prediction.prediction == table.predict([[1.0] * 10])[0].prediction
    assert bad.error == "row: s6 is 'heavy', must be a number"

    series = model_of("forecasting")
    steps = torch.arange(60).sin()
    (tmp_path / "steps.csv").write_text("value\n" + "\n".join(f"{step:.6f}" for step in steps.tolist()))
    (found,) = predict(series, find_inputs(series, [str(tmp_path / "steps.csv")]))
    assert found.prediction is not None
    (expected,) = series.predict(steps)
    assert found.prediction.prediction == pytest.approx(expected.prediction, abs=1e-4)


def test_the_script_writes_json_csv_and_tables(model: TrainedModel, tmp_path: Path) -> None:
    paths, folder, out = write_images(tmp_path / "images", 3), tmp_path / "images", tmp_path / "out.csv"
    code, output, _ = script("predict", model.folder, "-", "--json", "--top", "2", stdin="\n".join(map(str, paths)))
    assert code == 0
    objects = [json.loads(line) for line in output.splitlines()]
    for found, path, expected in zip(objects, paths, model.predict(paths), strict=True):
        assert found["input"] == str(path)
        assert found["prediction"] == expected.prediction
        assert found["probability"] == pytest.approx(expected.probability, abs=1e-6)
        assert [name for name, _ in found["top"]] == [name for name, _ in expected.top[:2]]

    (folder / "broken.png").write_text("no image")
    code, _, errors = script("predict", model.folder, folder, "--csv", out)
    assert code == 1
    assert errors.splitlines()[-1] == "1 of 4 inputs could not be predicted"
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["input"] for row in rows if row["error"]] == [str(folder / "broken.png")]
    assert [row["prediction"] for row in rows if not row["error"]] == [found["prediction"] for found in objects]

    code, table, _ = script("predict", model.folder, paths[0], "--top", "1")
    name, predicted, best, probability = table.split()
    assert str(paths[0]).endswith(name.lstrip("…"))
    assert (predicted, best) == (objects[0]["prediction"],) * 2
    assert probability == f"{objects[0]['probability']:.1%}"


def test_a_reader_that_has_read_enough_is_no_error(model: TrainedModel, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 3)[0].parent
    command = [sys.executable, str(ROOT / "scripts" / "predict.py"), str(model.folder), str(folder), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141
