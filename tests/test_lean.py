"""A leaner step changes nothing but the time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer

import leyden
from leyden.assemble import build_module
from leyden.config import compose
from leyden.lean import PlainStep, make_lean
from leyden.modules.lean import LeanModule
from leyden.trainer import build_trainer
from tests.conftest import same_weights

RUN = ("data=synthetic", "data.num_train=200", "model.dropout=0.2", "trainer.max_epochs=2", "trainer.accelerator=cpu")


def test_the_weights_have_the_same_bits(finished: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    lean = finished(*RUN)
    monkeypatch.setattr("leyden.run.make_lean", lambda trainer, module: None)
    lightnings = finished(*RUN)
    assert lean != lightnings
    assert same_weights(leyden.load(lean), leyden.load(lightnings))
    one, other = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (lean, lightnings))
    assert one["loops"] == other["loops"]


@pytest.mark.parametrize(
    ("overrides", "plain"),
    [
        ([], True),
        (["trainer.gradient_clip_val=1"], False),
        (["trainer.accumulate_grad_batches=2"], False),
        (["trainer.precision=bf16-mixed"], False),
    ],
)
def test_a_step_is_plain_only_where_nothing_is_left_out(overrides: list[str], plain: bool) -> None:
    trainer, module = _prepared(*overrides)
    make_lean(trainer, module)
    assert isinstance(trainer.fit_loop.epoch_loop.automatic_optimization, PlainStep) == plain


def test_a_hook_that_somebody_wrote_is_called() -> None:
    class Listener(Callback):
        def on_after_backward(self, trainer: Trainer, pl_module: LeanModule) -> None:
            """Listens."""

    trainer, module = _prepared()
    trainer.callbacks.append(Listener())
    make_lean(trainer, module)
    assert not isinstance(trainer.fit_loop.epoch_loop.automatic_optimization, PlainStep)
    assert callable(trainer.callbacks[-1].on_after_backward)
    assert trainer.callbacks[-1].on_before_backward is None


def _prepared(*overrides: str) -> tuple[Trainer, LeanModule]:
    cfg = compose("trainer.accelerator=cpu", *overrides)
    module = build_module(cfg)
    assert isinstance(module, LeanModule)
    return build_trainer(cfg), module
