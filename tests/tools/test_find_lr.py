"""The learning rate range test."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leyden.errors import UserError
from leyden.tools.find_lr import find_lr, smooth, steepest
from scripts import find_lr as script

FAST = ("data=digits", "model=mlp", "model.hidden=[16]", "trainer.accelerator=cpu")


def test_the_suggestion_is_where_the_loss_falls() -> None:
    found = find_lr(FAST, 1e-5, 10, 60)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) <= 60
    assert found.rates[0] == 1e-5
    steps = np.diff(np.log(found.rates))
    assert np.allclose(steps, steps[0])
    assert found.diverged  # a rate of 10 is too large
    assert 1e-4 < found.suggestion < 0.5
    position = int(np.argmin(np.abs(np.log(np.array(found.rates) / found.suggestion))))
    assert found.smoothed[position + 1] < found.smoothed[position - 1]


def test_accumulated_batches_are_one_step() -> None:
    found = find_lr([*FAST, "trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1"], 1e-4, 1e-1, 20)
    assert len(found.losses) == 20
    assert found == find_lr([*FAST, "trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1"], 1e-4, 1e-1, 20)


def test_smoothing_and_the_steepest_fall() -> None:
    assert smooth(np.ones(10), 2.0) == pytest.approx(np.ones(10))
    assert smooth(np.array([0.0] * 10 + [1.0] * 10), 1.0)[9:11] == pytest.approx([0.3, 0.7], abs=0.02)
    rates = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    assert steepest(rates, np.array([3.0, 2.9, 1.0, 0.9, 4.0])) == 1e-3
    with pytest.raises(UserError, match=r"the loss does not fall from a learning rate of 0\.0001 on"):
        steepest(rates, np.array([1.0, 2.0, 3.0, 4.0, 5.0]))


@pytest.mark.parametrize(
    ("overrides", "arguments", "message"),
    [
        (FAST, (0.1, 0.01), "--min: got 0.1, must be above 0 and below --max, here 0.01"),
        (FAST, (0.0, 1.0), "--min: got 0, must be above 0"),
        (FAST, (1e-6, 1.0, 3), "--steps: got 3, must be at least 20"),
        (("model=gan",), (), "model: DCGAN has several optimizers, to which this does not apply"),
        (("lr=1",), (), "lr: there is no such key, did you mean optimizer.lr"),
    ],
)
def test_mistakes(overrides: tuple[str, ...], arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        find_lr(overrides, *arguments)


def test_the_script_writes_a_plot_and_no_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scripts.find_lr.exit_on_signals", lambda: None)
    out = tmp_path / "plot.png"
    given = [*FAST, f"paths.logs={tmp_path / 'logs'}", "--steps", "30", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["find_lr.py", *given])
    script.main()
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("optimizer.lr=")
    with Image.open(out) as image:
        assert image.size == (1200, 720)
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]
    monkeypatch.setattr(sys, "argv", ["find_lr.py", *given, "--json"])
    script.main()
    values = json.loads(capsys.readouterr().out)
    assert values["override"] == last
    assert len(values["rates"]) == len(values["losses"])
