"""The tools on a run that translates: each line of a file, other pairs, a file that Leyden loads again."""

import csv
import json
from pathlib import Path

import pytest
import torch

import leyden
from leyden.tools.model_card import model_card
from tests.tools.conftest import Folders, Models, script

LINES = ["5. März 2021", "", " May 3, 1999 "]
TEXTS = ["5. März 2021", "May 3, 1999"]


def test_each_line_of_a_file_and_of_stdin_is_translated(model_of: Models, tmp_path: Path) -> None:
    model, path = model_of("translation"), tmp_path / "dates.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    code, output, errors = script("predict", model.folder, path, "-", "--json", stdin="\n".join(LINES))
    found = [json.loads(line) for line in output.splitlines()]
    assert (code, errors) == (0, "")
    assert [one["input"] for one in found] == [f"{path}:1", f"{path}:3", LINES[0], LINES[2]]
    expected = [one.prediction for one in model.predict(TEXTS)]
    assert [one["prediction"] for one in found[:2]] == expected


def test_the_translations_of_an_evaluation(run_of: Folders, evaluated: Folders, model_of: Models) -> None:
    with (evaluated("translation") / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    metrics = json.loads((evaluated("translation") / "metrics.json").read_text())["metrics"]
    assert sum(int(row["exact"]) for row in rows) / len(rows) == metrics["test/exact"]
    found = model_of("translation").predict([row["source"] for row in rows[:3]])
    assert [one.prediction for one in found] == [row["prediction"] for row in rows[:3]]


def test_other_pairs_are_evaluated(run_of: Folders, tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("target\tsource\n" + "".join(f"2021-03-05\t{text}\n" for text in TEXTS), encoding="utf-8")
    code, output, errors = script("evaluate", run_of("translation"), "--data", path, "--json", "--accelerator", "cpu")
    assert (code, errors) == (0, "")
    assert set(json.loads(output)) == {"test/loss", "test/exact", "test/acc"}


def test_a_safetensors_file_contains_the_tokenizer(model_of: Models, tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason='needs safetensors: pip install -e ".[safetensors]"')
    model, path = model_of("translation"), tmp_path / "dates.safetensors"
    assert script("export", model.folder, "--format", "safetensors", "--out", path)[0] == 0
    loaded = leyden.load(path)
    assert [one.prediction for one in loaded.predict(TEXTS)] == [one.prediction for one in model.predict(TEXTS)]
    card = model_card(model.folder, {"safetensors": path})
    assert "The symbol 300 ends a text" in card
    assert "tokenizer.json" in card


def test_texts_of_an_epoch_show_source_translation_and_truth(run_of: Folders) -> None:
    lines = (run_of("translation") / "samples" / "epoch_0001.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("=== ")] == [f"=== {number} ===" for number in (1, 2, 3)]
    assert sum(line.startswith("true: ") for line in lines) == 3


def test_the_attention_of_padding_is_zero(model_of: Models) -> None:
    model = model_of("translation")
    inputs = model.transform(TEXTS)
    with torch.no_grad():
        weights = model.net.attention(inputs, model.module(inputs))  # type: ignore[operator]
    assert (weights[1, :, len(TEXTS[1]) :] == 0).all()
