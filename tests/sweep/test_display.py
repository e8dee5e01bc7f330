"""How trials are displayed."""

import pytest

from leyden.sweep.display import brief, number_text
from tests.sweep.fake_jobs import DROPOUT, quadratic, sweep


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["optimizer.lr=0.0038246543", "seed=123456"], "optimizer.lr=0.003825 seed=123456"),
        (["optimizer.lr=3.8246543e-05", "model.hidden=[64]"], "optimizer.lr=3.825e-05 model.hidden=[64]"),
        ([], "the default"),
    ],
)
def test_brief_shortens_numbers(overrides: list[str], text: str) -> None:
    assert brief(overrides) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.98123, "0.9812"), (1.0, "1.0000"), (0.0, "0.0000"), (50_890.0, "50,890"), (1234.56, "1,234.6"), (-7.0, "-7")],
)
def test_counts_have_no_fraction(value: float, text: str) -> None:
    assert number_text(value) == text


def test_each_trial_has_its_own_number(logs: str, capsys: pytest.CaptureFixture[str]) -> None:
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=6", slots=3)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert [line.partition("]")[0] for line in lines] == [f"[{number}/6" for number in range(1, 7)]


def test_optuna_does_not_warn(logs: str, recwarn: pytest.WarningsRecorder) -> None:
    space = ["model.dropout=range(0.0, 0.5, 0.1)", "data.batch_size=range(8, 65, 8)", "optimizer=sgd,adamw"]
    sweep(quadratic, logs, *space, "sweep.n_trials=6", "sweep.sampler=gp", "sweep.enqueue=[{data.batch_size: 16}]")
    messages = [str(warning.message) for warning in recwarn]
    # Hydra 1.4 (make next) warns about the argument that Hydra 1.3 needs.
    assert [message for message in messages if not message.startswith("The version_base")] == []
