"""Every model with every data set, found by listing conf/: each pair trains and loads from its folder, or says in one
line why the two do not fit together.
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
from leyden.config.builders import build_module
from leyden.config.compose import compose, groups
from leyden.errors import UserError
from leyden.modules.supervised import SupervisedModule
from leyden.tools.evaluate import evaluate
from tests.conftest import chosen, small

Finished = Callable[..., Path]

MODELS, DATA = sorted(groups()["model"]), sorted(groups()["data"])
# Two steps of training, of a few samples; of the keys that only some data sets have, those that are there.
TWO_STEPS = [
    "trainer=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1", "data.batch_size=4", "data.eval_batch_size=20",
]  # fmt: skip
FEWER = {"num_train": 200, "num_test": 200, "num_eval": 200, "num_steps": 500, "verify": False}


pytestmark = pytest.mark.usefixtures("short_feature_net")


@pytest.fixture(autouse=True)
def tiny_files_are_not_the_published_ones_and_have_not_all_classes() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(taken as it is|No (positive|negative) samples)", UserWarning)
        yield


def config(model: str, data: str, root: Path, *overrides: str) -> DictConfig:
    """Of a pair, its data set a small one with its files below `root`."""
    cfg = compose(*small(model), *chosen(data), f"paths.data={root}", *overrides)
    for key, value in FEWER.items():
        if key in cfg.data:
            cfg.data[key] = value
    return cfg


@cache
def problem(model: str, data: str) -> str:
    """Return the message that rejects the pair, an empty text if the two fit together."""
    try:
        build_module(config(model, data, Path()))
    except UserError as error:
        return str(error)
    return ""


def fits(model: str, data: str) -> bool:
    return not problem(model, data)


PAIRS = [(model, data) for model in MODELS for data in DATA]


def kind(data: str) -> int:
    """Number of axes of a sample: 1 features, 2 a series, 3 an image."""
    return len(compose(*chosen(data)).data.shape)


class TestWhichPairsMakeSense:
    @pytest.mark.parametrize("model", MODELS)
    def test_a_model_takes_all_data_sets_of_a_kind_or_none(self, model: str) -> None:
        taken = {(kind(data), fits(model, data)) for data in DATA}
        assert len(taken) == len({axes for axes, _ in taken}), taken
        assert (3, True) in taken, "every model here takes images"

    def test_an_mlp_takes_them_all(self) -> None:
        assert all(fits("mlp", data) for data in DATA)

    def test_the_others_are_told_why_in_one_line(self) -> None:
        assert problem("cnn", "diabetes") == "model.in_shape: got [10], a cnn needs images [channels, height, width]"
        for said in filter(None, (problem(*pair) for pair in PAIRS)):
            assert said.startswith("model.in_shape: got [")
            assert "\n" not in said


@pytest.mark.parametrize(("model", "data"), PAIRS)
def test_a_pair_trains_and_comes_back_from_its_folder(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, files_root: Path, model: str, data: str
) -> None:
    if not fits(model, data):
        pytest.skip("the two do not fit together")
    trained: list[LightningModule] = []

    def build(cfg: DictConfig) -> Any:
        trained.append(build_module(cfg))
        return trained[-1]

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "build_module", build)
        folder = finished(config(model, data, files_root, *TWO_STEPS))
    module, loaded = (
        trained[0].eval(),
        leyden.load(folder).module,
    )  # the first with its best weights, since it was tested
    state = loaded.state_dict()
    assert state
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert not loaded.training
    if isinstance(module, SupervisedModule):
        inputs = torch.randn(3, *compose(*chosen(data)).data.shape)
        with torch.no_grad():
            assert torch.equal(module(inputs), loaded(inputs))
    report = json.loads((folder / "report.json").read_text())
    assert report["objective"]["metric"] in report["metrics"]
    assert any(name.startswith("test/") for name in report["metrics"])
    logged = {name for name in report["metrics"] if name.startswith("val/")}
    assert logged <= {f"val/{name}" for name in module.validation_metrics}


@pytest.mark.parametrize("data", ["digits", "diabetes", "digit_pairs", "series"])
def test_evaluating_a_run_again_gives_its_figures(finished: Finished, data: str) -> None:
    folder = finished(config("mlp", data, Path(), "trainer=cpu", "trainer.max_epochs=1"))
    report = json.loads((folder / "report.json").read_text())
    assert evaluate(folder, "val") | evaluate(folder, "test") == report["metrics"]
