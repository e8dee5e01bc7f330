"""Forecasts against the naive forecast."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import leyden
from leyden.config.builders import build_data, build_module
from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.modules.forecaster import Forecaster, estimate_season, seasonal_naive


def test_the_naive_forecast_repeats_the_last_season() -> None:
    window = torch.tensor([[9.0, 1.0, 2.0, 3.0]])[..., None]
    assert seasonal_naive(window, season=3, horizon=5).tolist() == [[1, 2, 3, 1, 2]]
    assert seasonal_naive(window, season=1, horizon=2).tolist() == [[3, 3]]


def test_a_season_longer_than_the_window() -> None:
    with pytest.raises(UserError, match=r"^task.season: got 24, must be between 1 and the window of 12"):
        build_module(compose("data=series", "model=mlp", "data.window=12", "task.season=24"))


def test_a_constant_added_to_the_series_is_added_to_the_forecast() -> None:
    module = build_module(compose("data=series", "model=mlp")).eval()
    window = torch.randn(2, 48, 1)
    assert torch.allclose(module(window) + 100, module(window + 100), atol=1e-3)


def test_it_does_not_extend_the_regressor() -> None:
    assert [base.__name__ for base in Forecaster.__mro__[1:3]] == ["SupervisedModule", "BaseModule"]


def windows_of(series: torch.Tensor, window: int, horizon: int) -> tuple[torch.Tensor, torch.Tensor]:
    pieces = series.unfold(0, window + horizon, 1)
    return pieces[:, :window, None], pieces[:, window:]


@pytest.mark.parametrize("season", [2, 7, 24])
def test_the_season_of_a_noisy_series_is_estimated(season: int) -> None:
    time, noise = torch.arange(2000.0), torch.randn(2000, generator=torch.Generator().manual_seed(0))
    series = 5 * torch.sin(2 * torch.pi * (time + 0.3) / season) + 0.3 * noise
    assert estimate_season(*windows_of(series, 60, 7)) == season


def test_a_random_walk_has_no_season() -> None:
    walk = torch.randn(2000, generator=torch.Generator().manual_seed(0)).cumsum(0)
    assert estimate_season(*windows_of(walk, 30, 3)) == 1


def weekly(path: Path) -> list[str]:
    """A CSV file with a weekly season, as of a shop."""
    rng = torch.Generator().manual_seed(0)
    values = torch.tensor([9.0, 1, 2, 3, 4, 5, 6]).repeat(100) + 0.3 * torch.randn(700, generator=rng)
    path.write_text("sold\n" + "".join(f"{value}\n" for value in values.tolist()))
    return ["data=series", f"data.path={path}", "data.window=28", "data.horizon=7", "trainer.max_epochs=1"]


def test_the_reference_is_the_best_naive_forecast_and_the_report_names_it(
    finished: Callable[..., Path], tmp_path: Path
) -> None:
    """A season of 24, which used to be the default, made the reference bad and the net look good."""
    overrides = ["model=mlp", "model.hidden=[8]", *weekly(tmp_path / "sales.csv")]
    estimated, wrong = (
        json.loads((finished(*overrides, season) / "report.json").read_text())
        for season in ("task.season=null", "task.season=24")
    )
    assert estimated["reference"] == {"forecast": "seasonal-naive", "season": 7, "estimated": True}
    assert wrong["reference"]["estimated"] is False
    assert estimated["metrics"]["test/mae"] == wrong["metrics"]["test/mae"]
    assert estimated["metrics"]["test/mae_vs_naive"] > 2 * wrong["metrics"]["test/mae_vs_naive"]


def test_the_naive_forecast_is_the_reference_where_it_is_better(finished: Callable[..., Path], tmp_path: Path) -> None:
    walk = torch.randn(700, generator=torch.Generator().manual_seed(0)).cumsum(0)
    path = tmp_path / "walk.csv"
    path.write_text("price\n" + "".join(f"{value}\n" for value in walk.tolist()))
    folder = finished("model=mlp", "data=series", f"data.path={path}", "trainer.max_epochs=1", "task.season=24")
    report = json.loads((folder / "report.json").read_text())
    assert report["reference"] == {"forecast": "naive", "season": 1, "estimated": False}


def test_an_estimated_season_is_in_the_checkpoint_and_a_given_one_is_not() -> None:
    """Run folders of Leyden 0.1 have no such buffer, and their config has a season."""
    estimated, given = (
        build_module(compose("data=series", "model=mlp", f"task.season={season}")) for season in ("null", 24)
    )
    assert estimated.state_dict().keys() - given.state_dict().keys() == {"estimated_season"}


def test_it_beats_the_naive_forecast_in_the_units_of_the_series(finished: Callable[..., Path]) -> None:
    overrides = ["model=mlp", "data=series", "data.num_steps=3000", "trainer.max_epochs=4", "model.hidden=[64]"]
    folder = finished(*overrides)
    report = json.loads((folder / "report.json").read_text())
    found = report["metrics"]
    model, data = leyden.load(folder).module, build_data(compose(*overrides))
    data.prepare_data()
    assert isinstance(model, Forecaster)
    data.setup("test")
    windows, truth = data.test
    with torch.no_grad():
        error = (model(windows) - truth).abs().mean().item()
    season = report["reference"]["season"]
    assert season == 23
    naive = (seasonal_naive(windows, season, 12) - truth).abs().mean().item()
    assert found["test/mae"] == pytest.approx(error, rel=1e-4)
    assert found["test/mae_vs_naive"] == pytest.approx(error / naive, rel=1e-4)
    assert found["test/mae_vs_naive"] < 0.8
    assert found["test/rmse_vs_naive"] < 0.8
