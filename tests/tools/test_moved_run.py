"""Every tool works with nothing but a run folder: the folder was moved, and the data is gone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import leyden
from leyden.config.builders import build_data
from leyden.data.digits import Digits
from leyden.errors import UserError
from leyden.run import run
from leyden.tools.evaluate import evaluate
from leyden.tools.explain import explain
from leyden.tools.export import export
from leyden.tools.export_formats import FORMATS
from leyden.tools.input_files import find_inputs
from leyden.tools.model_card import model_card
from leyden.tools.predict import predict
from leyden.tools.report_page import write_page
from leyden.tools.serve.http_server import ModelServer
from leyden.tools.serve.served_model import ServedModel
from tests.tools.serve.client import Client, serving


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a cnn for a few seconds, and move its folder."""
    logs = tmp_path_factory.mktemp("logs")
    run(leyden.compose("model=cnn", "trainer=cpu", f"paths.logs={logs}"))
    folder = tmp_path_factory.mktemp("received") / "a run"
    shutil.move(next(logs.glob("runs/*/*")), folder)
    shutil.rmtree(logs)
    return folder


@pytest.fixture(scope="module")
def known() -> tuple[Tensor, Tensor]:
    """The test images, uint8 (N, 1, 28, 28), and their labels."""
    digits = build_data(leyden.compose("data=digits"))
    return digits.read(train=False)


@pytest.fixture
def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Digits, train: bool) -> None:
        raise UserError("data.root: the files are not here")

    monkeypatch.setattr(Digits, "read", missing)


def test_the_evaluation_equals_the_report(moved: Path) -> None:
    reported = json.loads((moved / "report.json").read_text())["metrics"]
    for split in ("val", "test"):
        found = evaluate(moved, split, accelerator="cpu")
        assert found == {name: value for name, value in reported.items() if name in found}
        assert f"{split}/acc" in found


@pytest.mark.usefixtures("without_data")
def test_known_images_are_predicted_from_png_files(moved: Path, known: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    images, labels = known
    for number, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(tmp_path / f"{number:04}.png")
    model = leyden.load(moved)
    found = [result.prediction for result in predict(model, find_inputs(model, [str(tmp_path)]))]
    correct = [one.prediction == str(int(label)) for one, label in zip(found, labels, strict=True) if one is not None]
    assert len(correct) == len(labels)
    assert np.mean(correct) >= 0.97
    with torch.no_grad():
        expected = model.module(model.transform(images)).softmax(1)
    shown = torch.tensor([[dict(one.top)[name] for name in "0123456789"] for one in found if one is not None])
    assert torch.allclose(shown, expected, atol=1e-6)


@pytest.mark.usefixtures("without_data")
@pytest.mark.parametrize("name", FORMATS)
def test_it_is_exported(name: str, moved: Path, tmp_path: Path) -> None:
    if FORMATS[name].missing():
        pytest.skip(f"{', '.join(FORMATS[name].missing())} is not installed")
    found = export(moved, tmp_path / f"model{FORMATS[name].extension}", name)
    assert found.samples.startswith("random inputs")
    assert found.largest_difference <= 1e-4
    assert "trained on `Digits`" in model_card(moved)


@pytest.mark.usefixtures("without_data")
def test_it_is_explained_reported_and_served(moved: Path, known: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    image = known[0][0]
    page = write_page(moved, tmp_path / "report.html").read_text(encoding="utf-8")
    accuracy = json.loads((moved / "report.json").read_text())["metrics"]["test/acc"]
    assert f"{accuracy:.4f}" in page

    model = leyden.load(moved)
    server = serving(ModelServer(ServedModel(model), port=0))
    Image.fromarray(image[0].numpy()).save(tmp_path / "digit.png")
    answer = Client(server).image((tmp_path / "digit.png").read_bytes())
    server.shutdown()
    server.server_close()
    (expected,) = model.predict([image])
    assert answer.values == {"input": "image", **expected.as_dict()}

    pytest.importorskip("captum", reason="explain needs captum")
    (explained,) = explain(model, [image])
    assert explained.prediction.prediction == expected.prediction
    assert {"integrated gradients", "Grad-CAM", "occlusion"} <= set(explained.maps)
