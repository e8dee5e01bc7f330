"""Every model with every data set, found by listing conf/: each pair trains and loads from its folder, or says in one
line why the two do not fit together. Of pairs that differ in the shape of the inputs only, one is trained, and
the others are built.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from omegaconf import DictConfig

import leyden
from leyden import run as run_module
from leyden.checks import random_inputs
from leyden.config.agreement import check_agreement
from leyden.config.builders import build_module
from leyden.config.compose import compose, groups
from leyden.errors import UserError
from leyden.modules.language_model import LanguageModel
from leyden.modules.supervised import SupervisedModule
from leyden.tools.evaluate import evaluate
from tests.conftest import (
    LANGUAGE,
    PAIRS_OF_TEXTS,
    READ_TEXTS,
    RUNNING_TEXTS,
    SUPERVISED,
    TEXT,
    TEXTS,
    chosen,
    model_for,
    pairs_of,
    small,
)

Finished = Callable[..., Path]

MODELS, DATA = sorted(groups()["model"]), sorted(groups()["data"])
# Two steps of training, of a few samples; of the keys that only some data sets have, those that are there.
TWO_STEPS = [
    "trainer=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1", "data.batch_size=4", "data.eval_batch_size=20",
]  # fmt: skip
FEWER = {"num_pairs": 300, "num_train": 200, "num_test": 200, "num_eval": 200, "num_steps": 500, "verify": False}


# Models of one task: what they read of a data set is the same, so the tests are not repeated for all.
FLOWS = {
    "flow": ("digits", "digit_pairs", "diabetes"),
    "ddpm": ("digits", "diabetes"),
    "dit": ("digits", "diabetes"),
}
PAIRS = [
    (model, data)
    for model, data in pairs_of(MODELS, DATA)
    if data in FLOWS.get(model, DATA) and (data not in TEXTS or data == "text" or model in READ_TEXTS)
]

pytestmark = pytest.mark.usefixtures("short_feature_net")


@pytest.fixture(autouse=True)
def tiny_files_are_not_the_published_ones_and_have_not_all_classes() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(taken as it is|No (positive|negative) samples)", UserWarning)
        yield


@cache
def config(model: str, data: str, root: Path, *overrides: str) -> DictConfig:
    """Of a pair, its data set a small one with its files below `root`. Copy it before you change it."""
    cfg = compose(*small(model), *chosen(data), f"paths.data={root}", *overrides)
    for key, value in FEWER.items():
        if key in cfg.data:
            cfg.data[key] = value
    return cfg


@cache
def problem(model: str, data: str, root: Path, *overrides: str) -> str:
    """Return the message that rejects the pair, an empty text if the two fit together."""
    try:
        build_module(config(model, data, root, *TWO_STEPS, *overrides))
    except UserError as error:
        return str(error)
    return ""


# Number of axes of a sample → one data set of this kind: features, a series, images.
KINDS = {1: "diabetes", 2: "series", 3: "digits"}


def one_like(data: str, cfg: DictConfig) -> str:
    """One data set of the kind of `data`."""
    if data in PAIRS_OF_TEXTS:
        return "translation"
    return "characters" if data in RUNNING_TEXTS else "text" if data in TEXTS else KINDS[len(cfg.data.shape)]


# What models with a task of their own are trained with, besides one data set of each kind: colours, and other targets.
OTHER_IMAGES = ("cifar10", "digit_pairs", "digit_strings")


def is_trained(model: str, data: str, alike: str) -> bool:
    """Whether a pair is trained, and not only built.

    Each model is trained with one data set of each kind, and each data set with the models that are always small.
    Other pairs differ from these in the shape of the inputs only. `tests/nets/test_nets.py` has every supervised net
    with every shape; the models with a task of their own are trained with `OTHER_IMAGES` too.
    """
    if data == alike or model in ("mlp", "cnn", model_for(data)):
        return True
    return model not in SUPERVISED and data in OTHER_IMAGES


# Models that are no image encoder of task=clip → the beginning of the message.
NO_ENCODERS = {
    **dict.fromkeys(["seq2seq", "seq2seq_rnn"], "task: got clip, which needs one vector for an image, but a "),
    **dict.fromkeys([*TEXT, *LANGUAGE], "model.in_shape: got [1, 32, 112], a "),
    "autoencoder": "model.num_outputs: Autoencoder has no such key. ",  # as all models with a task of their own
}


@pytest.mark.parametrize("model", [*SUPERVISED, *LANGUAGE, "autoencoder"])
def test_every_model_of_images_is_an_image_encoder_of_clip_or_says_why_not(model: str, files_root: Path) -> None:
    said = problem(model, "digit_strings", files_root, "task=clip")
    assert said.startswith(NO_ENCODERS.get(model, ""))
    assert ("\n" in said, bool(said)) == (False, model in NO_ENCODERS)


class TestWhichPairsMakeSense:
    @pytest.mark.parametrize("model", sorted(set(MODELS) - {*LANGUAGE, *TEXT}))
    def test_every_other_model_takes_images(self, model: str, files_root: Path) -> None:
        assert problem(model, "digits", files_root) == ""

    @pytest.mark.parametrize("data", DATA)
    def test_a_gpt_takes_only_texts_to_continue(self, data: str, files_root: Path) -> None:
        said = problem("gpt", data, files_root)
        assert ("a gpt needs a text to continue" in said) == (data not in RUNNING_TEXTS)

    def test_a_text_to_continue_needs_a_gpt(self, files_root: Path) -> None:
        said = "model.in_shape: got [64], a text to continue, for which a mlp has no outputs; use model=gpt"
        assert problem("mlp", "characters", files_root) == said

    @pytest.mark.parametrize("model", MODELS)
    def test_models_with_vectors_of_tokens_take_texts(self, model: str, files_root: Path) -> None:
        assert (problem(model, "text", files_root) == "") == (model in READ_TEXTS)

    @pytest.mark.parametrize("data", TEXTS)
    def test_what_a_model_needs_for_texts_is_in_every_data_set_of_texts(self, data: str, files_root: Path) -> None:
        """So a model takes all of them or none, and the models that take none are tested with one of them."""
        assert {"max_tokens", "vocab_size"} <= set(config("bag", data, files_root, *TWO_STEPS).data)

    def test_an_mlp_takes_no_texts(self, files_root: Path) -> None:
        assert problem("mlp", "text", files_root).startswith(
            "model.in_shape: got [12], the tokens of a text, which this model cannot read; use a model with vectors"
        )

    def test_an_mlp_takes_every_kind_of_numbers(self, files_root: Path) -> None:
        assert [problem("mlp", data, files_root) for data in KINDS.values()] == ["", "", ""]

    def test_a_cnn_takes_only_images(self, files_root: Path) -> None:
        said = "model.in_shape: got [10], a cnn needs images [channels, height, width]"
        assert problem("cnn", "diabetes", files_root) == said


@pytest.mark.parametrize(("model", "data"), PAIRS)
def test_a_pair_trains_and_comes_back_from_its_folder_or_says_why_not(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, files_root: Path, model: str, data: str
) -> None:
    cfg = config(model, data, files_root, *TWO_STEPS)
    said = problem(model, data, files_root)
    alike = one_like(data, cfg)
    assert bool(said) == bool(problem(model, alike, files_root)), f"a model takes all data sets like {alike} or none"
    if data not in (*TEXTS, *PAIRS_OF_TEXTS):  # for a text, this also rejects the models that read none
        check_agreement(cfg)  # sizes agree unless they are overridden
    if said:
        assert said.startswith("model.in_shape: got [")
        assert "\n" not in said
    if said or not is_trained(model, data, alike):
        return
    trained: list[LightningModule] = []

    def build(cfg: DictConfig) -> Any:
        trained.append(build_module(cfg))
        return trained[-1]

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "build_module", build)
        folder = finished(cfg.copy())
    module = trained[0].eval()  # it has its best weights, since it was tested
    loaded = leyden.load(folder).module
    state = loaded.state_dict()
    assert state
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert not loaded.training
    if isinstance(module, SupervisedModule | LanguageModel):
        inputs = random_inputs(cfg, 3)
        with torch.no_grad():
            assert torch.equal(module(inputs), loaded(inputs))
    report = json.loads((folder / "report.json").read_text())
    assert report["objective"]["metric"] in report["metrics"]
    assert any(name.startswith("test/") for name in report["metrics"])
    logged = {name for name in report["metrics"] if name.startswith("val/")}
    assert logged <= {f"val/{name}" for name in module.validation_metrics}


@pytest.mark.parametrize("data", ["digits", "diabetes", "digit_pairs", "series", "characters"])
def test_evaluating_a_run_again_gives_its_figures(finished: Finished, files_root: Path, data: str) -> None:
    folder = finished(config(model_for(data), data, files_root, "trainer=cpu", "trainer.max_epochs=1").copy())
    report = json.loads((folder / "report.json").read_text())
    assert evaluate(folder, "val") | evaluate(folder, "test") == report["metrics"]
