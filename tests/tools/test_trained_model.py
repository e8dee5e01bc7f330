"""A loaded run: raw inputs of every form, class names, and the same probabilities as the module's."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import leyden
from leyden.config.stored import stored_config
from leyden.data.image_files.raw import pixels
from leyden.errors import UserError
from leyden.tools.trained_model import TrainedModel
from tests.tools.conftest import Models

FAST = ("trainer=smoke", "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    from leyden.run import run

    logs = tmp_path_factory.mktemp("logs")
    cfg = leyden.compose("model=mlp", "model.hidden=[64]", "trainer.max_epochs=5", f"paths.logs={logs}", "logger=none")
    run(cfg)
    (folder,) = logs.glob("runs/*/*")
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    shutil.move(folder, moved)
    return leyden.load(moved)


def images_and_labels(model: TrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
    model.data.setup("test")
    assert model.data.test is not None
    return model.data.test


def test_all_forms_of_an_image_give_the_same_probabilities(digits_model: TrainedModel, tmp_path: Path) -> None:
    images, _ = images_and_labels(digits_model)
    image = images[0]
    path = tmp_path / "digit.png"
    Image.fromarray(image[0].numpy()).save(path)
    forms: list[Any] = [
        path, str(path), path.read_bytes(), Image.open(path), image, image[0], image.numpy(), image[0].numpy(),
        image.float() / 255, image.permute(1, 2, 0).numpy(),
    ]  # fmt: skip
    inputs = digits_model.data.transform(torch.device("cpu"))(image[None])
    with torch.no_grad():
        expected = digits_model.module(inputs).softmax(1)[0]
    for found in digits_model.predict(forms):
        assert dict(found.top)[found.prediction] == found.probability
        assert [dict(found.top)[name] for name in "0123456789"] == pytest.approx(expected.tolist(), abs=1e-6)


def test_known_images_are_predicted(digits_model: TrainedModel) -> None:
    images, labels = images_and_labels(digits_model)
    found = [int(str(prediction.prediction)) for prediction in digits_model.predict(images)]
    assert (torch.tensor(found) == labels).float().mean() > 0.93
    assert digits_model.classes == tuple("0123456789")


def test_one_input_or_a_batch(digits_model: TrainedModel) -> None:
    images, _ = images_and_labels(digits_model)
    assert len(digits_model.predict(images[0])) == 1
    assert len(digits_model.predict(images[:3])) == 3
    assert len(digits_model.predict(images[:3].numpy())) == 3
    assert digits_model.transform(list(images[:2])).shape == (2, 1, 28, 28)
    assert digits_model(images[:2]).shape == (2, 10)
    with pytest.raises(UserError, match="inputs: are empty"):
        digits_model.transform([])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 2), np.int64), "its pixels are int64, must be uint8"),
        (np.full((2, 2), 7.0), "its pixels are from 7 to 7, must be from 0 to 1 or uint8"),
        (np.full((2, 2), np.nan), "its pixels are from nan to nan"),
        (np.zeros((5, 5, 7), np.uint8), r"its shape is \[5, 5, 7\]"),
        (b"GIF89a", "image: "),
        (7, "image: got int, must be a path"),
        ("nowhere.png", "image: there is no file nowhere.png"),
    ],
)
def test_an_unusable_image_is_named(image: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pixels(image, (1, 4, 4))


def test_images_of_other_sizes_modes_and_orientations() -> None:
    white = Image.new("RGB", (10, 6), "white")
    white.getexif()[0x0112] = 6  # rotated by 90 degrees
    assert pixels(white, (3, 4, 4)).tolist() == torch.full((3, 4, 4), 255).tolist()
    assert white.size == (10, 6), "the user's image was changed"
    assert pixels(np.full((8, 9, 4), 255, np.uint8), (1, 4, 4)).unique().tolist() == [255]
    assert pixels(torch.full((3, 5, 3), 255, dtype=torch.uint8), (3, 5, 3)).shape == (3, 5, 3)
    ambiguous = torch.arange(9, dtype=torch.uint8).view(3, 1, 3)
    assert pixels(ambiguous, (3, 1, 3)).equal(ambiguous), "a tensor has its channels first"
    assert pixels(ambiguous.numpy(), (3, 3, 1)).equal(ambiguous.permute(2, 0, 1)), "an array has its channels last"


def test_rows_of_a_table(model_of: Models) -> None:
    model = model_of("regression")
    model.data.setup("test")
    features, _ = model.data.test  # type: ignore[misc]
    names = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
    row = features[0].tolist()
    with torch.no_grad():
        expected = float(model.module(features[:1]))
    for form in (row, dict(zip(names, row, strict=True)), dict(zip(names, map(str, row), strict=True)), features[:1]):
        (found,) = model.predict(form)
        assert found.prediction == pytest.approx(expected, rel=1e-6)
        assert (found.probability, found.top) == (None, ())
    missing = {name: 1 for name in names if name != "bmi"}
    with pytest.raises(UserError, match="row: column bmi is missing; the columns are age, sex"):
        model.predict(missing)
    with pytest.raises(UserError, match="row: bmi is 'heavy', must be a number"):
        model.predict({**missing, "bmi": "heavy"})
    with pytest.raises(UserError, match="row: has 2 values, the model needs 10"):
        model.predict([[1, 2]])


def test_series(model_of: Models) -> None:
    model = model_of("forecasting")
    steps = torch.linspace(0, 1, model.data.window + 7)  # type: ignore[attr-defined]
    (found,) = model.predict(steps.tolist())
    assert isinstance(found.prediction, list)
    with torch.no_grad():
        expected = model.module(steps[7:][None, :, None])[0].tolist()
    assert found.prediction == pytest.approx(expected, rel=1e-6)
    with pytest.raises(UserError, match="series: has 2 steps, the model needs the last"):
        model.predict([1.0, 2.0])
    with pytest.raises(UserError, match="is not a finite number"):
        model.predict([*steps.tolist()[:-1], float("nan")])


def test_a_run_with_callbacks_of_others_can_be_loaded_but_not_resumed(finished: Callable[..., Path]) -> None:
    summary = "+callbacks.other._target_=lightning.pytorch.callbacks.LambdaCallback"
    folder = finished("model=mlp", "model.hidden=[8]", summary, *FAST)
    assert leyden.load(folder).predict(torch.zeros(1, 28, 28, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"callbacks\.other: the run in .* cannot add it by itself"):
        stored_config(folder)
