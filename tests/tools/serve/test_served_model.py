"""What the server knows about a run, and its explanations."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from leyden.errors import UserError
from leyden.tools.serve.input_gradient import enlarged, overlay, saliency
from leyden.tools.serve.served_model import ServedModel, as_json
from tests.tools.conftest import Models

IMAGE = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (
            "classification",
            {"task": "Classifier", "input": "image", "generates": False, "draws": True, "shape": [1, 28, 28]},
        ),
        ("regression", {"task": "Regressor", "input": "row", "draws": False, "optional": True}),
        ("forecasting", {"task": "Forecaster", "input": "series", "draws": False}),
        ("transcription", {"task": "Transcriber", "input": "image", "draws": True}),
        ("vae", {"task": "VAE", "input": None, "generates": True, "draws": False}),
    ],
)
def test_facts_about_a_run(model_of: Models, task: str, expected: dict[str, object]) -> None:
    info = ServedModel(model_of(task)).info()
    assert {name: info[name] for name in expected} == expected
    assert info["metrics"]
    as_json(info)


def test_features_and_classes(model_of: Models) -> None:
    assert ServedModel(model_of("regression")).info()["features"] == [
        "age",
        "sex",
        "bmi",
        "bp",
        *(f"s{n}" for n in range(1, 7)),
    ]
    assert ServedModel(model_of("classification")).info()["classes"] == list("0123456789")


@pytest.mark.parametrize(
    ("task", "titles"),
    [
        ("classification", ["Input", "Influence"]),
        ("transcription", ["Input", "Influence"]),
        ("autoencoder", ["Input", "Reconstruction"]),
    ],
)
def test_explanations_are_images_with_texts(model_of: Models, task: str, titles: list[str]) -> None:
    images = ServedModel(model_of(task)).explain(IMAGE)["images"]
    assert [image["title"] for image in images] == titles
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(image["png"])))) for image in images]
    assert min(shown[0].shape[:2]) >= 224
    if task == "classification":
        assert np.array_equal(shown[0][::8, ::8], IMAGE)


def test_the_influence_is_the_gradient_of_the_best_logit(model_of: Models) -> None:
    trained = model_of("classification")
    batch = trained.transform([IMAGE])
    strengths = saliency(trained, batch)
    step = 1e-2
    with torch.no_grad():
        best = int(trained.module(batch)[0].argmax())
        changed = batch.repeat(2, 1, 1, 1)
        row, column = divmod(int(strengths.argmin()), 28), divmod(int(strengths.argmax()), 28)
        for number, (y, x) in enumerate((row, column)):
            changed[number, 0, y, x] += step
        weak, strong = (trained.module(changed)[:, best] - trained.module(batch)[0, best]).abs().tolist()
    assert weak < strong
    assert strengths.shape == (28, 28)
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


def test_what_does_not_apply(model_of: Models) -> None:
    with pytest.raises(UserError, match="explain: does not apply to task=regression, "):
        ServedModel(model_of("regression")).explain([0.0] * 10)
    with pytest.raises(UserError, match="drawing: is possible only"):
        ServedModel(model_of("regression")).drawing(b"")
    with pytest.raises(UserError, match="sample: does not apply to task=classification"):
        ServedModel(model_of("classification")).sample(1, 0)


def test_json_has_no_nan() -> None:
    assert as_json({"a": [float("nan"), 1.5, "\ud800"]}) == b'{"a": [null, 1.5, "\\ud800"]}\n'
