"""Every tool on a run of every task: it gives the values of the module, or says in one line why it does not apply."""

import base64
import html
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from leyden.config.compose import groups
from leyden.errors import UserError
from leyden.modules.plots import grid
from leyden.tools.page.elements import number
from leyden.tools.serve.answers import answer
from leyden.tools.serve.served_model import ServedModel
from leyden.tools.trained_model import TrainedModel
from leyden.training.image_logger import write_png
from leyden.training.text_logger import joined
from tests.tools.conftest import Folders, Models, script

TASKS = sorted(groups()["task"])
GENERATE = ("vae", "gan", "flow")
NO_IMAGES = ("regression", "forecasting", "language_modelling")  # as inputs
WRITES, TRANSLATES = "language_modelling", "translation"
FEATURES = ("byol", "mae", "simclr", "vicreg")  # what self-supervised tasks give
TEXT = "The statement"
FILES = {  # of an evaluation
    "classification": "classes.csv confusion.png errors.png precision_recall.png predictions.csv reliability.png "
    "roc.png",
    "multilabel": "classes.csv errors.png precision_recall.png predictions.csv roc.png",
    "transcription": "errors.png predictions.csv reliability.png",
    "regression": "predictions.csv residuals.png",
    "forecasting": "error_by_step.png forecasts.png predictions.csv",
    "autoencoder": "anomaly_scores.png precision_recall.png predictions.csv reconstructions.png roc.png",
    "vae": "reconstructions.png samples.png",
    "gan": "samples.png",
    "flow": "samples.png",
    "language_modelling": "",
    "translation": "attention.png predictions.csv",
    "clip": "errors.png predictions.csv",
    **dict.fromkeys(FEATURES, ""),
}
every_task = pytest.mark.parametrize("task", TASKS)


def raw_input(model: TrainedModel) -> Any:
    """One input as a user has it: pixels (H, W), features in their units, past steps, or a text."""
    if model.data.input_kind == "text":
        return TEXT
    rng, shape = np.random.default_rng(0), tuple(model.data.shape)
    if model.data.input_kind == "image":
        return rng.integers(0, 256, shape[1:], np.uint8)
    return rng.normal(size=shape[:1]).round(3).astype(np.float32)


def write_input(model: TrainedModel, folder: Path) -> Path:
    """Write this input as a file."""
    raw = raw_input(model)
    if model.data.input_kind == "image":
        Image.fromarray(raw).save(folder / "input.png")
        return folder / "input.png"
    if model.data.input_kind == "text":
        (folder / "input.txt").write_text(raw)
        return folder / "input.txt"
    header, lines = ["value"], raw[:, None]
    if model.data.input_kind == "row":
        header, lines = list(model.data.feature_names()), raw[None]  # type: ignore[attr-defined]
    np.savetxt(folder / "input.csv", lines, "%.3f", ",", header=",".join(header), comments="")
    return folder / "input.csv"


def named(model: TrainedModel, raw: Any) -> dict[str, Tensor]:
    """What the module gives for a raw batch (N, ...), worked out from its outputs: name → (N, ...)."""
    module: Any = model.module
    with torch.no_grad():
        if model.task in GENERATE:
            return {"images": module.decode(torch.as_tensor(raw))}
        if model.task == WRITES:
            inputs = model.transform(raw) if isinstance(raw[0], str) else torch.as_tensor(raw)
            outputs = module(inputs)
            last = len(TEXT) - 1 if isinstance(raw[0], str) else int((inputs[0] != 0).sum()) - 1
            return {"logits": outputs, "probabilities": outputs[:, last].softmax(1)}
        inputs = model.transform(list(raw))
        outputs = module(inputs)
        if model.task == TRANSLATES:
            return {"symbols": outputs}
        if model.task == "classification":
            return {"probabilities": outputs.softmax(1)}
        if model.task == "multilabel":
            return {"probabilities": outputs.sigmoid(), "labels": outputs.sigmoid() >= module.thresholds}
        if model.task == "transcription":
            symbols = outputs.view(len(raw), -1, 11)  # the last symbol ends the text
            chosen = symbols.argmax(2)
            for row in chosen:
                row[row.tolist().index(10) + 1 if 10 in row else len(row) :] = -1
            return {"symbols": chosen, "probabilities": symbols.softmax(2)}
        if model.task == "autoencoder":
            pixels = torch.as_tensor(np.stack(list(raw))).float().view(outputs.shape) / 255
            errors = (outputs - pixels).square().flatten(1).mean(1)
            return {"scores": errors / pixels.flatten(1).var(1), "reconstructions": outputs}
        if model.task == "clip":
            return {"embeddings": outputs / outputs.norm(dim=1, keepdim=True)}
    names = {"regression": "numbers", "forecasting": "steps"}
    return {names.get(model.task, "features"): outputs}


def words(model: TrainedModel, found: dict[str, Tensor]) -> dict[str, Any]:
    """The prediction for the first sample of what `named` gives."""
    if model.task in ("classification", "multilabel"):
        values = dict(zip(map(str, range(10)), found["probabilities"][0].tolist(), strict=True))
        ranks = sorted(values.items(), key=lambda pair: -pair[1])
        if model.task == "multilabel":
            labels = [str(label) for label in found["labels"][0].nonzero().flatten().tolist()]
            return {"prediction": labels, "probability": None, "top": ranks[:5]}
        return {"prediction": ranks[0][0], "probability": ranks[0][1], "top": ranks[:5]}
    if model.task == WRITES:
        values = dict(enumerate(found["probabilities"][0].tolist()))
        order = sorted(values, key=lambda number: -values[number])[:5]
        names = [model.classes[number] if number < len(model.classes or ()) else str(number) for number in order]  # type: ignore[index]
        ranks = [(name, values[number]) for name, number in zip(names, order, strict=True)]
        return {"prediction": ranks[0][0], "probability": ranks[0][1], "top": ranks}
    if model.task == "transcription":
        symbols = [symbol for symbol in found["symbols"][0].tolist() if symbol >= 0]
        text = "".join(str(symbol) for symbol in symbols if symbol < 10)
        likelihood = float(found["probabilities"][0].amax(1)[: len(symbols)].prod())
        return {"prediction": text, "probability": likelihood, "top": [(text, likelihood)]}
    if model.task == TRANSLATES:
        tokens = model.data.target_tokenizer()
        assert tokens is not None
        text = tokens.decode([symbol for symbol in found["symbols"][0].tolist() if 0 <= symbol < tokens.size])
        return {"prediction": text, "probability": None, "top": []}
    if model.task == "clip":
        module: Any = model.module
        with torch.no_grad():
            texts = module.text_encoder(module.known.tokens)
            scores = texts / texts.norm(dim=1, keepdim=True) @ found["embeddings"][0] * module.log_scale.exp()
        values = dict(zip(module.known.texts, scores.softmax(0).tolist(), strict=True))
        ranks = sorted(values.items(), key=lambda pair: -pair[1])[:5]
        return {"prediction": ranks[0][0], "probability": ranks[0][1], "top": ranks}
    value = next(iter(found.values()))[0].tolist()
    return {"prediction": value[0] if model.task == "regression" else value, "probability": None, "top": []}


def check_words(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["prediction"] == close(expected["prediction"])
    assert found["probability"] == close(expected["probability"])
    assert [tuple(pair) for pair in found["top"]] == [(name, close(value)) for name, value in expected["top"]]


def check_prediction(found: dict[str, Any], model: TrainedModel) -> None:
    check_words(found, words(model, named(model, [raw_input(model)])))


def close(value: Any) -> Any:
    """Compare numbers with a tolerance, and everything else exactly."""
    if isinstance(value, list):
        return [close(one) for one in value]
    return pytest.approx(value, rel=1e-5) if isinstance(value, float) else value


@every_task
def test_predict(task: str, model_of: Models, tmp_path: Path) -> None:
    model = model_of(task)
    path = write_input(model, tmp_path)
    done = script("predict", model.folder, path, "--json")
    if task in GENERATE:
        line = f"error: predict: does not apply to task={task}, which generates images. Use sample instead\n"
        assert done == (2, "", line)
        return
    assert (done[0], done[2]) == (0, "")
    found = json.loads(done[1])
    assert found["input"] == str(path) + {"regression": ":2", TRANSLATES: ":1"}.get(task, "")
    check_prediction(found, model)


@pytest.mark.filterwarnings("ignore:.*No (positive|negative) samples.*:UserWarning")
@every_task
def test_evaluate(task: str, run_of: Folders, evaluated: Folders) -> None:
    reported = json.loads((run_of(task) / "report.json").read_text())["metrics"]
    written = evaluated(task)
    values = json.loads((written / "metrics.json").read_text())
    assert values["metrics"] == {name: value for name, value in reported.items() if name.startswith("test/")}
    assert (values["split"], values["precision"], values["device"]) == ("test", "32-true", "cpu")
    assert sorted(path.name for path in written.iterdir()) == sorted([*FILES[task].split(), "metrics.json"])
    for path in written.glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 200


@every_task
def test_explain(task: str, model_of: Models, tmp_path: Path) -> None:
    model, out = model_of(task), tmp_path / "explained"
    code, output, errors = script("explain", model.folder, write_input(model, tmp_path), "--out", out)
    if task in (*GENERATE, *NO_IMAGES):
        reason = (
            "which predicts nothing for an image"
            if task in GENERATE
            else "because the inputs of this run are no images"
        )
        assert (code, errors) == (2, f"error: explain: does not apply to task={task}, {reason}\n")
        assert not out.exists()
        return
    if task == TRANSLATES:
        assert (code, errors) == (0, "")
        assert sorted(path.name for path in out.iterdir()) == ["input-txt-1-attention.png", "overview.png"]
        return
    if task in FEATURES:
        line = (
            f"error: explain: does not apply to task={task}, which predicts nothing for an image. Fine-tune it first: "
        )
        assert (code, errors) == (2, f"{line}python train.py init_from=RUN\n")
        return
    if task != "autoencoder":
        pytest.importorskip("captum", reason='needs captum: pip install -e ".[explain]"')
    assert (code, errors) == (0, "")
    assert "written to" in output
    assert sorted(path.name for path in out.iterdir()) == ["input-explained.png", "overview.png"]


@every_task
def test_export_and_the_code_of_the_card(
    task: str, model_of: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(task)
    if model.data.input_kind == "image":
        write_input(model, tmp_path).rename(tmp_path / "image.png")
    arguments = ("--format", "torch", "--out", tmp_path / "model.pt2", "--card", "--json")
    code, output, errors = script("export", model.folder, *arguments)
    if task == TRANSLATES:
        assert (code, output, errors.count("\n")) == (2, "", 1)
        assert errors.startswith("error: --format torch: does not apply to task=translation")
        return
    assert code == 0
    assert json.loads(output)["largest_difference"] < 1e-5
    card = (tmp_path / "README.md").read_text()
    assert f"`{type(model.module).__name__}`" in card
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"RUN": model.folder}
    leyden_block, torch_block = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(leyden_block, space)
    exec(torch_block, space)
    expected = named(model, space["inputs"])
    assert list(space["outputs"]) == list(expected)
    for name, value in expected.items():
        found = space["outputs"][name]
        assert found.dtype == value.dtype
        assert torch.allclose(found.double(), value.double(), rtol=1e-4, atol=1e-5), name
    if task in GENERATE:
        assert space["images"].equal(model.sample(4))
    else:
        check_words(space["found"].as_dict(), words(model, expected))


@every_task
def test_report(task: str, run_of: Folders, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert script("report", run_of(task), "--out", path) == (0, f"{path}\n", "")
    page = path.read_text(encoding="utf-8")
    report = json.loads((run_of(task) / "report.json").read_text())
    shown = list(report["metrics"].values())
    if task in ("classification", "multilabel"):
        shown += report["per_class"]["auroc"]
    assert [value for value in shown if value is not None and number(value) not in page] == []
    assert ("scripts/sample.py" in page) == (task in (*GENERATE, WRITES)) != ("scripts/predict.py" in page)
    if task in (WRITES, TRANSLATES):
        assert html.escape((run_of(task) / "samples" / "epoch_0001.txt").read_text(), quote=False) in page


@every_task
def test_serve(task: str, model_of: Models, tmp_path: Path) -> None:
    model = model_of(task)
    served, kind = ServedModel(model), model.data.input_kind
    body, content_type = write_input(model, tmp_path).read_bytes(), "image/png"
    if kind != "image":
        raw = raw_input(model)
        body, content_type = json.dumps({kind: raw if kind == "text" else raw.tolist()}).encode(), "application/json"
    assert served.info()["generates"] == (task in GENERATE)

    def images(path: str, body: bytes, content_type: str) -> dict[str, np.ndarray]:
        found = answer(served, path, "", content_type, body)["images"]
        return {one["title"]: np.asarray(Image.open(io.BytesIO(base64.b64decode(one["png"])))) for one in found}

    if task in GENERATE:
        shown = images("/sample", b'{"num": 4, "seed": 3}', "application/json")["Samples"]
        expected = grid(model.sample(4, 3), 2).permute(1, 2, 0).numpy() * 255
        assert np.abs(shown[::4, ::4].astype(float) - expected).max() <= 1  # enlarged by 4
    else:
        check_prediction(answer(served, "/predict", "", content_type, body), model)
        with pytest.raises(UserError, match=f"^sample: does not apply to task={task}, which generates no images"):
            answer(served, "/sample", "", "application/json", b"{}")
    if task in (*GENERATE, *NO_IMAGES, *FEATURES):
        with pytest.raises(UserError, match=f"^explain: does not apply to task={task}, "):
            answer(served, "/explain", "", content_type, body)
    else:
        second = "Reconstruction" if task == "autoencoder" else "Influence"
        names = ["Attention"] if task == TRANSLATES else ["Input", second]
        assert served.info()["explains"]
        assert list(images("/explain", body, content_type)) == names


@every_task
def test_sample(task: str, model_of: Models, tmp_path: Path) -> None:
    model, path = model_of(task), tmp_path / "samples.png"
    done = script("sample", model.folder, "--num", "9", "--seed", "1", "--out", path)
    if task == WRITES:
        text = model.write("", 9, seed=1)
        assert done == (0, f"{path}\n", "")
        assert path.read_text() == joined(text)
        assert (model.sample(9, 1), model.sample(9, 2) == text) == (text, False)
        return
    if task not in GENERATE:
        reason = "which generates no images. Use a run of model=vae, gan or flow"
        assert done == (2, "", f"error: sample: does not apply to task={task}, {reason}\n")
        assert not path.exists()
        return
    assert done == (0, f"{path}\n", "")
    write_png(tmp_path / "expected.png", grid(model.sample(9, 1)))
    assert path.read_bytes() == (tmp_path / "expected.png").read_bytes()
    with Image.open(path) as image:
        assert image.size == (8 * 29 + 1, 2 * 29 + 1)
    assert model.sample(2, 1).equal(model.sample(2, 1))
    assert not model.sample(2, 1).equal(model.sample(2, 2))


@every_task
def test_compare(task: str, run_of: Folders) -> None:
    report = json.loads((run_of(task) / "report.json").read_text())
    metric = report["objective"]["metric"]
    code, table, _ = script("compare", run_of(task), "--format", "csv")
    header, row = (line.split(",") for line in table.splitlines())
    values = dict(zip(header, row, strict=True))
    assert code == 0
    assert float(values[metric]) == pytest.approx(report["metrics"][metric], rel=1e-3)
    assert (int(values["n"]), int(values["parameters"])) == (1, report["parameters"])


def test_runs_of_different_tasks_are_not_compared(run_of: Folders, tmp_path: Path) -> None:
    out = tmp_path / "table.md"
    out.write_text("an older table")
    code, output, errors = script("compare", run_of("regression"), run_of("forecasting"), "--out", out)
    assert (code, output, out.read_text()) == (2, "", "an older table")
    assert re.fullmatch(
        r"error: .*: has task=\w+, but .* has task=\w+\. Only runs of one task can be compared\n", errors
    )
    code, _, errors = script("evaluate", "--folds", run_of("regression"), run_of("forecasting"))
    assert (code, errors.count("\n")) == (2, 1)
