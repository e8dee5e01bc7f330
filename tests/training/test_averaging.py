"""What is validated, stored and tested with averaged weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import leyden
from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.records.json_files import read_report
from leyden.records.run_folder import best_checkpoint, last_checkpoint
from leyden.run import run
from leyden.tools.evaluate import evaluate
from leyden.training.averaging import averaged_tensors

SHORT = ("trainer=cpu", "trainer.max_epochs=2", "trainer.limit_train_batches=5", "data.batch_size=8",
         "checkpoint.every_n_steps=2")  # fmt: skip


@pytest.mark.parametrize("overrides", [["averaging=ema"], ["averaging=lookahead", "averaging.every=3"]])
def test_the_best_checkpoint_holds_the_averages_and_the_run_resumes(
    resumed: Callable[..., tuple[Path, Path]], overrides: list[str]
) -> None:
    folder, _ = resumed(*SHORT, *overrides)
    best, last = (torch.load(path(folder), weights_only=True) for path in (best_checkpoint, last_checkpoint))
    state = last["callbacks"]["Averaging"]
    assert state["steps"] == 10
    assert "callbacks" not in best
    report = read_report(folder)
    assert report["loop"] == "fast"
    averages = state["averages"]
    is_of_the_end = report["objective"]["epoch"] == 1
    same = [torch.equal(average, best["state_dict"][name]) for name, average in averages.items()]
    assert all(same) if is_of_the_end else not all(same)
    assert any(not torch.equal(average, last["state_dict"][name]) for name, average in averages.items())
    assert evaluate(folder, "val")["val/acc"] == report["metrics"]["val/acc"]
    weights = leyden.load(folder).module.state_dict()
    assert all(torch.equal(value, best["state_dict"][name]) for name, value in weights.items())


def test_weights_statistics_and_nothing_else_is_averaged() -> None:
    module = build_module(compose("model=vae", "model.channels=[4,8]", "data=cifar10"))
    names = averaged_tensors(module)
    assert {name.partition(".")[0] for name in names} == {"net", "likelihood"}
    assert any("running_mean" in name for name in names)


def test_a_gan_has_its_own_average() -> None:
    with pytest.raises(UserError, match=r"^averaging: got ema, but this model averages its weights itself"):
        run(compose("model=gan", "averaging=ema"))
