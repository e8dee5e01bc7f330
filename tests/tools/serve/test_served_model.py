"""What the server knows about a run, and its explanations."""

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from leyden.errors import UserError
from leyden.tools.serve.input_gradient import enlarged, overlay, saliency
from leyden.tools.serve.served_model import ServedModel, as_json
from leyden.tools.trained_model import TrainedModel

Models = Callable[[str], TrainedModel]
IMAGE = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("image", {"task": "Classifier", "input": "image", "generates": False, "draws": True, "shape": [1, 28, 28]}),
        ("row", {"task": "Regressor", "input": "row", "draws": False, "optional": True}),
        ("series", {"task": "Forecaster", "input": "series", "draws": False}),
        ("text", {"task": "Transcriber", "input": "image", "draws": True}),
        ("vae", {"task": "VAE", "input": None, "generates": True, "draws": False}),
    ],
)
def test_facts_about_a_run(model: Models, kind: str, expected: dict[str, object]) -> None:
    info = ServedModel(model(kind)).info()
    assert {name: info[name] for name in expected} == expected
    assert info["metrics"]
    as_json(info)


def test_features_and_classes(model: Models) -> None:
    assert ServedModel(model("row")).info()["features"] == ["age", "sex", "bmi", "bp", *(f"s{n}" for n in range(1, 7))]
    assert ServedModel(model("image")).info()["classes"] == list("0123456789")


@pytest.mark.parametrize(
    ("kind", "titles"),
    [
        ("image", ["Input", "Influence"]),
        ("text", ["Input", "Influence"]),
        ("autoencoder", ["Input", "Reconstruction"]),
    ],
)
def test_explanations_are_images_with_texts(model: Models, kind: str, titles: list[str]) -> None:
    images = ServedModel(model(kind)).explain(IMAGE)["images"]
    assert [image["title"] for image in images] == titles
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(image["png"])))) for image in images]
    assert min(shown[0].shape[:2]) >= 224
    if kind == "image":
        assert np.array_equal(shown[0][::8, ::8], IMAGE)


def test_the_influence_is_the_gradient_of_the_best_logit(model: Models) -> None:
    trained = model("image")
    batch = trained.transform([IMAGE])
    strengths = saliency(trained.module, batch)
    step = 1e-2
    with torch.no_grad():
        best = int(trained.module(batch)[0].argmax())
        changed = batch.repeat(2, 1, 1, 1)
        row, column = divmod(int(strengths[0].argmin()), 28), divmod(int(strengths[0].argmax()), 28)
        for number, (y, x) in enumerate((row, column)):
            changed[number, 0, y, x] += step
        weak, strong = (trained.module(changed)[:, best] - trained.module(batch)[0, best]).abs().tolist()
    assert weak < strong
    assert strengths.shape == (1, 28, 28)
    assert float(strengths.max()) == 1
    assert all(weight.grad is None for weight in trained.module.parameters())


def test_overlays() -> None:
    image, strengths = torch.zeros(1, 4, 4), torch.zeros(4, 4)
    strengths[0, 0] = 1
    shown = overlay(image, strengths)
    assert shown.shape == (3, 224, 224)
    assert shown[0, 0, 0] == 1
    assert len(set(shown[:, -1, -1].tolist())) == 1  # grey
    assert enlarged(torch.zeros(3, 300, 400)).shape == (3, 300, 400)


def test_what_does_not_apply(model: Models) -> None:
    with pytest.raises(UserError, match="explain: applies only to models that predict something for an image"):
        ServedModel(model("row")).explain([0.0] * 10)
    with pytest.raises(UserError, match="drawing: is possible only"):
        ServedModel(model("row")).drawing(b"")
    with pytest.raises(UserError, match="does not generate images"):
        ServedModel(model("image")).sample(1, 0)


def test_json_has_no_nan() -> None:
    assert as_json({"a": [float("nan"), 1.5, "\ud800"]}) == b'{"a": [null, 1.5, "\\ud800"]}\n'
