"""Runs on a real GPU. Skipped without one: there, `tests/modules/test_fake_cuda.py` checks the devices of a step."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from leyden.checks import first_difference
from leyden.config.compose import compose
from leyden.records.json_files import read_report
from leyden.run import run

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

SMALL = ("data=digits", "trainer=gpu", "trainer.max_epochs=2", "data.batch_size=32", "logger=none")
MODELS = (
    ["model=mlp"],
    ["model=cnn", "data.shift=2"],
    ["model=lstm", "model.hidden=16"],
    ["model=transformer", "model.dim=16"],
    ["model=mlp", "ensemble=3", "ensemble_order=own"],
    ["model=cnn", "ensemble=3", "data.shift=2"],
)


class SilentSteps(Callback):
    """Makes a read from the GPU an error between the ends of the steps `first` and `last`."""

    pruned = False

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last, self.checked = first, last, False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.first:
            torch.cuda.set_sync_debug_mode("error")
        if trainer.global_step == self.last:
            torch.cuda.set_sync_debug_mode("default")
            self.checked = True


@pytest.fixture(autouse=True)
def reads_are_allowed_again() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("overrides", MODELS, ids=" ".join)
def test_20_steps_read_nothing_from_the_gpu(tmp_path: Path, overrides: list[str]) -> None:
    """The first steps are left out: libraries are loaded and kernels are chosen in them."""
    cfg, silent = compose(*SMALL, *overrides, f"paths.logs={tmp_path}", "trainer.max_epochs=1"), SilentSteps(5, 25)
    run(cfg, pruner=silent)
    assert silent.checked


@pytest.mark.parametrize("overrides", MODELS, ids=" ".join)
def test_a_killed_run_ends_with_the_same_bits(resumed: Callable[..., tuple[Path, Path]], overrides: list[str]) -> None:
    resumed(*SMALL, *overrides, "checkpoint.every_n_steps=7")


@pytest.mark.parametrize("overrides", MODELS, ids=" ".join)
def test_the_same_command_gives_the_same_bits(finished: Callable[..., Path], overrides: list[str]) -> None:
    one, other = (
        torch.load(finished(*SMALL, *overrides) / "checkpoints" / "last.ckpt", weights_only=True) for _ in range(2)
    )
    assert first_difference(one["state_dict"], other["state_dict"]) == ""


@pytest.mark.parametrize("option", ["trainer.precision=bf16-mixed", "trainer.compile=true"])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_it_learns_in_bfloat16_and_compiled(finished: Callable[..., Path], model: str, option: str) -> None:
    report = read_report(finished(*SMALL, f"model={model}", option, "trainer.max_epochs=5"))
    assert report
    assert report["device"].startswith("cuda")
    assert report["metrics"]["test/acc"] > 0.9
