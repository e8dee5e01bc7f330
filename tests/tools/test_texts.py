"""Every tool on runs on texts: classes, several labels, and numbers."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import leyden
from leyden.run import run
from leyden.tools.serve.answers import answer
from leyden.tools.serve.served_model import ServedModel
from leyden.tools.word_influence import word_influence
from tests.conftest import sentence
from tests.tools.conftest import TINY, script

LABELS: dict[str, Callable[[int], str]] = {
    "classification": lambda row: ("bad", "good")[row % 2],
    "multilabel": lambda row: ";".join(("a", "b", "c")[: 1 + row % 3]),
    "regression": lambda row: str(row / 4),
}
TASKS = sorted(LABELS)
Runs = Callable[[str], Path]
pytestmark = pytest.mark.filterwarnings("ignore:.*No (positive|negative) samples.*:UserWarning")


def write_table(path: Path, task: str, rows: range, header: str = "what,said") -> Path:
    lines = [f'{LABELS[task](row)},"{sentence(row)}"' for row in rows]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A run of each task on forty texts, trained when it is first needed."""
    folder = tmp_path_factory.mktemp("texts")
    found: dict[str, Path] = {}

    def call(task: str) -> Path:
        if task not in found:
            table = write_table(folder / f"{task}.csv", task, range(60))
            own = ["data.separator=;"] if task == "multilabel" else []
            size = ["model.embedding=8", "model.buckets=50", "data.max_tokens=16", "data.vocab_size=100"]
            columns = ["data=text", f"data.path={table}", "data.text=said", "data.label=what", *own]
            run(
                leyden.compose(
                    "model=bag", *columns, *size, *TINY, f"paths.logs={folder / task}", f"paths.data={folder}"
                )
            )
            (found[task],) = (folder / task).glob("runs/*/*")
        return found[task]

    return call


def expected(folder: Path, text: str) -> Any:
    """The prediction for a text, worked out from the outputs of the module."""
    model = leyden.load(folder)
    outputs = model(text)[0]
    if model.task == "classification":
        return ("bad", "good")[int(outputs.argmax())]
    if model.task == "multilabel":
        return [name for name, value in zip("abc", outputs.tolist(), strict=True) if value >= 0]
    return pytest.approx(float(outputs[0]), rel=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_predict_takes_texts_files_rows_and_stdin(run_of: Runs, task: str, tmp_path: Path) -> None:
    folder, texts = run_of(task), [sentence(3), sentence(4)]
    table, file = write_table(tmp_path / "new.csv", task, range(3, 5)), tmp_path / "one.txt"
    file.write_text(texts[0], encoding="utf-8")
    (tmp_path / "several").mkdir()
    (tmp_path / "several" / "two.txt").write_text(texts[1], encoding="utf-8")
    given = [texts[0], file, table, tmp_path / "several", "-"]
    code, output, errors = script("predict", folder, *given, "--json", stdin=f"{texts[1]}\n")
    assert (code, errors) == (0, "")
    found = [json.loads(line) for line in output.splitlines()]
    names = [texts[0], str(file), f"{table}:2", f"{table}:3", str(tmp_path / "several" / "two.txt"), texts[1]]
    assert [one["input"] for one in found] == names
    wanted = [expected(folder, text) for text in texts]
    assert [one["prediction"] for one in found] == [wanted[number] for number in (0, 0, 0, 1, 1, 1)]


def test_what_cannot_be_predicted_has_a_line(run_of: Runs, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"fine\nna\xefve")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (tmp_path / "gaps.csv").write_text("said\nx\n\n' '\n", encoding="utf-8")
    given = [tmp_path / "latin.txt", tmp_path / "other.csv", "missing.txt", " ", "ok"]
    code, output, errors = script("predict", run_of("classification"), *given)
    assert code == 1
    assert output.startswith("ok ")
    assert errors.replace(str(tmp_path), "").splitlines() == [
        "error: text: line 2 of /latin.txt is not UTF-8 (invalid continuation byte); save the file in UTF-8",
        "error: got said, but the columns of /other.csv are a, b",
        "error: missing.txt: does not exist",
        "error: text: is empty",
        "4 of 5 inputs could not be predicted",
    ]


@pytest.mark.parametrize("task", TASKS)
def test_evaluate(run_of: Runs, task: str, tmp_path: Path) -> None:
    folder = run_of(task)
    reported = json.loads((folder / "report.json").read_text())["metrics"]
    code, output, _ = script("evaluate", folder, "--json", "--accelerator", "cpu")
    assert code == 0
    assert json.loads(output) == {name: value for name, value in reported.items() if name.startswith("test/")}
    other = write_table(tmp_path / "other.csv", task, range(40))
    code, output, _ = script("evaluate", folder, "--data", other, "--json", "--accelerator", "cpu")
    assert code == 0
    rows = (folder / "evaluation" / "other.csv" / "predictions.csv").read_text().splitlines()
    assert len(rows) == 41
    assert rows[1].endswith(f"line 2 of {other}")


def test_evaluate_class_folders_and_unknown_labels(run_of: Runs, tmp_path: Path) -> None:
    folder = run_of("classification")
    for row in range(6):
        path = tmp_path / "new" / LABELS["classification"](row) / f"{row}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sentence(row), encoding="utf-8")
    code, output, _ = script("evaluate", folder, "--data", tmp_path / "new", "--json", "--accelerator", "cpu")
    assert code == 0
    right = sum(expected(folder, sentence(row)) == LABELS["classification"](row) for row in range(6))
    assert json.loads(output)["test/acc"] == pytest.approx(right / 6)
    bad = tmp_path / "bad.csv"
    bad.write_text("what,said\nugly,x\n", encoding="utf-8")
    done = script("evaluate", folder, "--data", bad, "--accelerator", "cpu")
    message = f"error: --data: line 2 of {bad} has the label 'ugly', but the labels of the training are bad, good\n"
    assert done == (2, "", message)


@pytest.mark.parametrize("task", TASKS)
def test_export_and_the_code_of_the_card(
    run_of: Runs, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output, _ = script(
        "export", run_of(task), "--format", "torch", "--out", tmp_path / "m.pt2", "--card", "--json"
    )
    assert code == 0
    assert json.loads(output)["largest_difference"] < 1e-5
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"RUN": run_of(task)}
    for block in re.findall(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL):
        exec(block, space)
    model = leyden.load(run_of(task))
    assert space["inputs"].tolist() == model.transform(["This is a text."]).tolist()
    with torch.no_grad():
        named = model.module.predict(torch.tensor(space["inputs"]))
    assert all(torch.allclose(named[name].float(), space["outputs"][name].float(), atol=1e-5) for name in named)


def test_a_safetensors_file_has_the_vocabulary(run_of: Runs, tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason='needs safetensors: pip install -e ".[safetensors]"')
    path = tmp_path / "model.safetensors"
    assert script("export", run_of("classification"), "--format", "safetensors", "--out", path)[0] == 0
    (one,), (other,) = (leyden.load(source).predict("a good film") for source in (path, run_of("classification")))
    assert one.as_dict() == other.as_dict()


@pytest.mark.parametrize("task", TASKS)
def test_explain(run_of: Runs, task: str, tmp_path: Path) -> None:
    done = script("explain", run_of(task), sentence(1), tmp_path / "missing.csv", "--out", tmp_path / "out")
    assert done[0] == 1
    assert done[2] == f"error: {tmp_path / 'missing.csv'}: does not exist\n"
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "film1-is-a-good-film-I-like-it-really-nu-explained.png"
    with Image.open(path) as image:
        assert min(image.size) > 100


def test_the_influence_of_a_word_is_what_the_score_falls_without_it(run_of: Runs) -> None:
    model = leyden.load(run_of("classification"))
    found = word_influence(model, "a good unheard film")
    assert found.tokens == ("a", "good", "unheard", "film")
    best = ("bad", "good").index(str(found.prediction.prediction))
    assert found.what == f"score of class {found.prediction.prediction}"
    whole, without = (float(model(text)[0, best]) for text in ("a good unheard film", "a unknownword unheard film"))
    assert float(found.influence[1]) == pytest.approx(whole - without, abs=1e-6)
    assert float(found.influence[2]) == 0, "it was unknown before"


@pytest.mark.parametrize("task", TASKS)
def test_report_serve_and_compare(run_of: Runs, task: str, tmp_path: Path) -> None:
    folder = run_of(task)
    assert script("report", folder, "--out", tmp_path / "page.html")[0] == 0
    assert "scripts/predict.py" in (tmp_path / "page.html").read_text(encoding="utf-8")
    served = ServedModel(leyden.load(folder))
    assert served.info()["input"] == "text"
    found = answer(served, "/predict", "", "application/json", json.dumps({"text": sentence(3)}).encode())
    assert found["prediction"] == expected(folder, sentence(3))
    assert script("compare", folder, "--format", "csv")[0] == 0


def test_a_run_without_its_vocabulary(run_of: Runs, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run_of("classification"), copy)
    (copy / "tokenizer.json").write_text("{", encoding="utf-8")
    done = script("predict", copy, "x")
    assert done[0] == 2
    assert done[2] == f"error: {copy / 'config.yaml'}: tokenizer.json: is damaged (it does not describe a tokenizer)\n"
    (copy / "tokenizer.json").unlink()
    done = script("predict", copy, "x")
    assert (done[0], done[2].count("\n")) == (2, 1)
