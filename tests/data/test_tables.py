"""Tables: only the training split is in their statistics, and mistakes are named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import leyden
from leyden.config.builders import section
from leyden.config.compose import compose
from leyden.config.instantiate import instantiate
from leyden.data.diabetes import Diabetes
from leyden.data.scaling import Scaling
from leyden.errors import UserError

NAN = float("nan")


def table(*overrides: str) -> Diabetes:
    data = instantiate(section(compose("data=diabetes", *overrides), "data"), "data")
    assert isinstance(data, Diabetes)
    return data


def fitted(data: Diabetes) -> dict[str, Any]:
    scaling = Scaling(data.shape, data.num_targets)
    data.fit_scaling(scaling)
    return scaling.state_dict()


def test_nothing_of_validation_or_test_is_in_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = table()
    clean.setup("fit")
    features, targets = clean.read(train=True)
    in_val = (features[:, None] == clean.val[0][None]).all(2).any(1)
    assert in_val.sum() == len(clean.val[0]) > 30

    def poisoned(self: Diabetes, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
        poison = torch.where(torch.arange(10) % 2 == 0, NAN, 1e30)
        bad = in_val[:, None] if train else torch.tensor(True)
        return torch.where(bad, poison, features), torch.where(bad, 1e30, targets)

    monkeypatch.setattr(Diabetes, "read", poisoned)
    spoilt = table()
    spoilt.setup("fit")
    spoilt.setup("test")
    assert spoilt.val[0].isnan().any()
    assert spoilt.test[0].isnan().any()
    expected, found = fitted(clean), fitted(spoilt)
    assert expected["std"].isfinite().all()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_the_statistics_are_those_of_the_training_split() -> None:
    data = table("data.clip=0")
    data.setup("fit")
    state = fitted(data)
    assert torch.allclose(state["mean"], data.train[0].mean(0))
    assert torch.allclose(state["std"], data.train[0].std(0, correction=0))
    assert torch.allclose(state["fill"], data.train[0].median(0).values)
    assert state["target_mean"].item() == pytest.approx(data.train[1].mean().item())


def test_missing_values_are_an_error_if_they_are_not_to_be_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Diabetes, "read", lambda self, train: (torch.full((20, 10), NAN), torch.zeros(20, 1)))
    with pytest.raises(UserError, match=r"data\.impute: got false, but 200 values of the training set are missing"):
        table("data.impute=false").setup("fit")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.clip=0.5", "data.clip: got 0.5, must be at least 0 and below 0.5"),
        ("data.shape=[3,10]", r"data.shape: got \[3, 10\], expected \[features\]"),
        ("data.num_targets=0", "data.num_targets: got 0"),
    ],
)
def test_a_wrong_value_names_its_key(override: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        table(override)


def test_another_number_of_features_than_the_config_says() -> None:
    with pytest.raises(UserError, match=r"data.shape: got \[9\], but the training set has 10 features"):
        table("data.shape=[9]").setup("fit")


def test_a_loaded_run_takes_raw_features_and_tells_the_targets_units(finished: Callable[..., Path]) -> None:
    folder = finished("model=mlp", "data=diabetes")
    report = json.loads((folder / "report.json").read_text())
    assert report["metrics"]["test/r2"] > 0.4, "linear regression reaches 0.45"
    data, model = table(), leyden.load(folder).module
    features, targets = data.read(train=False)
    with torch.no_grad():
        error = model(features) - targets
    assert error.square().mean().sqrt().item() == pytest.approx(report["metrics"]["test/rmse"], rel=1e-5)
    features[3, 2] = NAN
    assert model(features).isfinite().all()
