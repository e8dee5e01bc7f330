"""Explanations: methods of captum and attention, for the smallest nets."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import leyden
from leyden.errors import UserError
from leyden.modules.patch_attention import patches_to_pixels
from leyden.nets.transformer import Tokens
from leyden.tools.attention_maps import rollout
from leyden.tools.explain import Explainer, explain
from leyden.tools.explained_score import explained_score
from tests.tools.conftest import Folders, Models, script

FAST = ("trainer=smoke", "trainer.max_epochs=1")


@pytest.fixture
def captum() -> None:
    pytest.importorskip("captum", reason='needs captum: pip install -e ".[explain]"')


def image(seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.usefixtures("captum")
def test_integrated_gradients_add_up_to_the_score(model_of: Models) -> None:
    model = model_of("classification")
    explainer = Explainer(model)
    (found,) = explain(model, image())
    assert list(found.maps) == ["integrated gradients", "Grad-CAM", "occlusion"]
    assert {tuple(values.shape) for values in found.maps.values()} == {(28, 28)}
    inputs = model.transform(image())
    score, what = explained_score(model, inputs)
    assert what == f"score of class {found.prediction.prediction}"
    black = model.transform(torch.zeros(1, 28, 28, dtype=torch.uint8))
    difference = float((score(inputs) - score(black)).detach())
    assert float(found.maps["integrated gradients"].sum()) == pytest.approx(difference, rel=0.1, abs=0.02)
    assert found.maps["Grad-CAM"].min() >= 0
    assert explainer.notes() == ["attention: does not apply, because the net (CNN) has none"]


@pytest.mark.usefixtures("captum")
def test_occlusion_finds_the_only_pixels_that_matter(finished: Callable[..., Path]) -> None:
    model = leyden.load(finished("model=mlp", "model.hidden=[]", *FAST))
    with torch.no_grad():
        (layer,) = (layer for layer in model.net.modules() if isinstance(layer, torch.nn.Linear))
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight.view(10, 28, 28)[3, 20:24, 8:12] = 1.0
    (found,) = explain(model, torch.full((1, 28, 28), 255, dtype=torch.uint8))
    assert found.prediction.prediction == "3"
    for name in ("integrated gradients", "occlusion"):
        row, column = divmod(int(found.maps[name].argmax()), 28)
        assert 18 <= row < 26, name
        assert 6 <= column < 14, name
    assert found.maps["integrated gradients"].nonzero().min(0).values.tolist() == [20, 8]
    assert Explainer(model).notes()[0] == "Grad-CAM: does not apply, because the net (MLP) has no convolution"


@pytest.mark.usefixtures("captum")
def test_attention(finished: Callable[..., Path], model_of: Models) -> None:
    vit = leyden.load(finished("model=transformer", "model.dim=16", "model.num_layers=2", *FAST))
    (found,) = explain(vit, image())
    assert list(found.maps) == ["integrated gradients", "occlusion", "attention"]
    assert found.maps["attention"].shape == (28, 28)
    texts = model_of("transcription")
    sample = torch.zeros(tuple(texts.data.shape), dtype=torch.uint8)
    (found,) = explain(texts, sample)
    inputs = texts.transform(sample)
    symbols = texts.module.predict(inputs)["symbols"]
    num = int((symbols[0] >= 0).sum())
    assert [name for name in found.maps if name.startswith("attention")] == [
        f"attention, symbol {number + 1}" for number in range(num)
    ]
    weights = texts.net.attention(inputs, symbols)  # type: ignore[operator]
    assert weights.sum(-1).allclose(torch.ones(1))
    score, what = explained_score(texts, inputs)
    assert what == "probability of the text"
    assert float(score(inputs).exp().detach()) == pytest.approx(found.prediction.probability, rel=1e-4)


def test_rollout_and_patches_by_hand() -> None:
    weights = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]], [[[0.0, 1.0], [1.0, 0.0]]]])  # two layers, one head
    # (W₂ + 1) / 2 · (W₁ + 1) / 2 = [[.5, .5], [.5, .5]] · [[1, 0], [.25, .75]]
    assert rollout(weights).tolist() == [[0.625, 0.375], [0.625, 0.375]]
    tokens = Tokens((1, 4, 5), dim=2, patch=2, positions="learned", stem="patch")  # padded to 4 x 6
    pixels = patches_to_pixels(torch.arange(6.0), tokens, torch.Size((4, 5)))
    assert pixels.tolist() == [[0, 0, 1, 1, 2]] * 2 + [[3, 3, 4, 4, 5]] * 2


def test_an_autoencoder_shows_its_errors(model_of: Models) -> None:
    model = model_of("autoencoder")
    (found,) = explain(model, image())
    inputs = model.transform(image())
    error = float(model.module.errors(inputs).detach())  # type: ignore[operator]
    assert float(found.maps["squared error"].mean()) == pytest.approx(error, rel=1e-5)


@pytest.mark.usefixtures("captum")
def test_the_command_writes_an_image_each_and_names_broken_ones(run_of: Folders, tmp_path: Path) -> None:
    run, out = run_of("classification"), tmp_path / "out"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((28, 28), 90, np.uint8)).save(tmp_path / folder / "one.png")
    (tmp_path / "b" / "two.png").write_bytes(b"no image")
    code, _, errors = script("explain", run, tmp_path / "a", tmp_path / "b", "--out", out)
    assert code == 1
    assert sorted(path.name for path in out.iterdir()) == [
        "one-2-explained.png", "one-explained.png", "overview.png"
    ]  # fmt: skip
    assert "two.png" in errors
    link = tmp_path / "link"
    link.symlink_to(out)
    code, _, errors = script("explain", run, tmp_path / "a", "--out", link)
    assert code == 2
    assert "link: is a symbolic link" in errors


def test_captum_that_is_missing_is_one_line(model_of: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(UserError, match=r'explain: needs captum: pip install -e "\.\[explain\]"'):
        Explainer(model_of("classification"))
