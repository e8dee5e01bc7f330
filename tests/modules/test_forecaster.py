"""Forecasts against the naive forecast."""

import pytest
import torch

from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.modules.forecaster import Forecaster, seasonal_naive


def test_the_naive_forecast_repeats_the_last_season() -> None:
    window = torch.tensor([[9.0, 1.0, 2.0, 3.0]])[..., None]
    assert seasonal_naive(window, season=3, horizon=5).tolist() == [[1, 2, 3, 1, 2]]
    assert seasonal_naive(window, season=1, horizon=2).tolist() == [[3, 3]]


def test_a_season_longer_than_the_window() -> None:
    with pytest.raises(UserError, match=r"^task.season: got 24, must be between 1 and the window of 12"):
        build_module(compose("data=series", "model=mlp", "data.window=12"))


def test_a_constant_added_to_the_series_is_added_to_the_forecast() -> None:
    module = build_module(compose("data=series", "model=mlp")).eval()
    window = torch.randn(2, 48, 1)
    assert torch.allclose(module(window) + 100, module(window + 100), atol=1e-3)


def test_it_does_not_extend_the_regressor() -> None:
    assert [base.__name__ for base in Forecaster.__mro__[1:3]] == ["SupervisedModule", "BaseModule"]
