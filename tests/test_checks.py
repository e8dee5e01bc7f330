"""Every model and every data set in conf/ keeps the guarantees, and `check_model` notices one that does not."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from leyden import checks
from leyden.checks import GuaranteeError, check_model, first_difference
from leyden.config.compose import compose, groups
from leyden.modules.classifier import Classifier
from leyden.nets.mlp import MLP
from tests.conftest import chosen, data_for, model_for, small

FEWER = {"num_pairs": 300, "num_train": 200, "num_test": 200, "num_eval": 200, "num_steps": 500, "verify": "false"}


pytestmark = pytest.mark.usefixtures("short_feature_net")


@pytest.fixture(autouse=True)
def small_files() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(taken as it is|No (positive|negative) samples)", UserWarning)
        yield


def few_samples(data: str) -> list[str]:
    keys = compose(*chosen(data)).data
    return [f"data.{key}={value}" for key, value in FEWER.items() if key in keys]


@pytest.mark.parametrize("model", sorted(groups()["model"]))
def test_every_model_keeps_the_guarantees(model: str, files_root: Path) -> None:
    data = data_for(model)
    check_model(model, data, *small(model)[1:], *chosen(data)[1:], f"paths.data={files_root}")


@pytest.mark.parametrize("data", sorted(set(groups()["data"]) - {"digits"}))
def test_every_data_set_keeps_the_guarantees(data: str, files_root: Path) -> None:
    model = small(model_for(data))
    given = (*model[1:], *chosen(data)[1:], *few_samples(data), f"paths.data={files_root}")
    check_model(model[0].partition("=")[2], data, *given)


class TestBrokenModels:
    """A check that cannot fail is worth nothing: each of these models breaks one guarantee."""

    def broken(self, match: str) -> None:
        with pytest.raises(GuaranteeError, match=match):
            check_model("mlp", "synthetic", "model.hidden=[8]", "optimizer.weight_decay=0", *few_samples("synthetic"))

    def test_a_weight_without_a_gradient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = MLP.__init__

        def init(self: MLP, *args: Any, **kwargs: Any) -> None:
            real(self, *args, **kwargs)
            self.unused = torch.nn.Linear(2, 2)

        monkeypatch.setattr(MLP, "__init__", init)
        self.broken("every weight has a gradient: no gradient reaches net.unused")

    def test_a_step_that_depends_on_what_a_checkpoint_does_not_hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = Classifier.training_step

        def step(self: Classifier, batch: Any, batch_idx: int) -> Tensor:
            self.calls = getattr(self, "calls", 0) + 1
            return real(self, batch, batch_idx) * (1 + self.calls / 100)

        monkeypatch.setattr(Classifier, "training_step", step)
        self.broken("resumed run ends with the same bits: last.ckpt differs in state_dict")

    def test_an_output_that_depends_on_the_batch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = MLP.forward
        monkeypatch.setattr(MLP, "forward", lambda self, x: real(self, x) + x.mean())
        self.broken("a batch of one works: the output of a sample depends on its batch")

    def test_a_model_that_does_not_learn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = MLP.forward
        monkeypatch.setattr(MLP, "forward", lambda self, x: real(self, x) * 0)
        self.broken("training changes the weights")

    def test_an_evaluation_that_is_random(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = MLP.forward

        def noisy(self: MLP, x: Tensor) -> Tensor:
            logits = real(self, x)
            return logits if self.training else logits + torch.rand_like(logits)

        monkeypatch.setattr(MLP, "forward", noisy)
        monkeypatch.setattr(checks, "GUARANTEES", {"evaluation is deterministic": checks.evaluates_as_reported})
        self.broken("two evaluations of the validation set differ")


def test_the_first_difference_is_named() -> None:
    one = {"a": [1, {"b": torch.zeros(2)}], "c": float("nan")}
    assert first_difference(one, {"a": [1, {"b": torch.zeros(2)}], "c": float("nan")}) == ""
    assert first_difference(one, {"a": [1, {"b": torch.ones(2)}], "c": float("nan")}) == "a[1].b"
    assert first_difference(one, {"a": [2, {"b": torch.zeros(2)}], "c": float("nan")}) == "a[0]"
