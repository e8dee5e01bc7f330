"""The fast loop gives the same bits as Lightning's, and leaves nothing out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

import leyden
from leyden.config.builders import build_data, build_module
from leyden.config.compose import compose
from leyden.data.datamodule import InMemoryData
from leyden.data.digits import Digits
from leyden.modules.base import BaseModule
from leyden.records.json_files import read_report
from leyden.training.fast_loop import FastEpochLoop, FastTrainer, use_fast_loop
from leyden.training.trainer import build_training
from scripts.torture_lib.same_bits import metrics
from tests.conftest import same_weights

RUN = ("data=synthetic", "data.num_train=200", "model.dropout=0.2", "trainer.max_epochs=2", "trainer.accelerator=cpu")


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["scheduler=plateau", "scheduler.patience=0"],
        ["trainer.limit_train_batches=3"],
        ["trainer.val_check_interval=0.5"],
        ["trainer.max_epochs=4", "trainer.max_steps=9"],
        ["trainer.max_epochs=4", "trainer.max_steps=10"],
        ["trainer.max_epochs=20", "early_stopping.patience=1", "early_stopping.min_delta=1"],
    ],
    ids=" ".join,
)
def test_the_weights_have_the_same_bits(
    overrides: list[str], finished: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lean = finished(*RUN, *overrides)
    monkeypatch.setattr("leyden.run.use_fast_loop", lambda trainer, module, data: False)
    lightnings = finished(*RUN, *overrides)
    assert lean != lightnings
    assert same_weights(leyden.load(lean).module, leyden.load(lightnings).module)
    one, other = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (lean, lightnings))
    assert one["loops"] == other["loops"]
    assert metrics(lean) == metrics(lightnings)


@pytest.mark.parametrize(
    ("overrides", "plain"),
    [
        ([], True),
        (["trainer.gradient_clip_val=1"], False),
        (["trainer.accumulate_grad_batches=2"], False),
        (["trainer.precision=bf16-mixed"], False),
    ],
)
def test_the_fast_loop_runs_only_where_nothing_is_left_out(overrides: list[str], plain: bool) -> None:
    trainer, module, data = _prepared(*overrides)
    assert use_fast_loop(trainer, module, data) == plain
    assert isinstance(trainer.fit_loop.epoch_loop, FastEpochLoop) == plain


def test_a_hook_that_somebody_wrote_is_called() -> None:
    class Listener(Callback):
        def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
            """Listens."""

    trainer, module, data = _prepared()
    trainer.callbacks.append(Listener())
    use_fast_loop(trainer, module, data)
    assert not isinstance(trainer.fit_loop.epoch_loop, FastEpochLoop)
    assert callable(trainer.callbacks[-1].on_after_backward)
    assert trainer.callbacks[-1].on_before_backward is None


QUIET: dict[str, Any] = {
    "accelerator": "cpu", "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip


class Talkative(LightningModule):
    """Logs within its steps, and returns more than the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(3, 1)

    def training_step(self, batch: Tensor) -> dict[str, Tensor] | None:
        loss = self.net(batch).square().mean()
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.log("largest", batch.max(), on_step=False, on_epoch=True, reduce_fx="max")
        return None if batch.mean() > 0.55 else {"loss": loss, "mean": batch.mean()}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3, gamma=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Listener(Callback):
    """Logs around each step, and records what it receives."""

    def __init__(self) -> None:
        self.received: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self.received.append(outputs)
        pl_module.log("lr", trainer.optimizers[0].param_groups[0]["lr"], on_step=True)


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`", "ignore:.*does not have many workers")
def test_what_a_module_logs_and_returns_in_a_step_arrives() -> None:
    found = []
    for lean in (False, True):
        torch.manual_seed(0)
        module, listener, logger = Talkative(), Listener(), DictLogger()
        trainer = FastTrainer(max_epochs=2, log_every_n_steps=2, callbacks=[listener], logger=logger, **QUIET)
        if lean:
            use_fast_loop(trainer, module, LightningDataModule())
        assert isinstance(trainer.fit_loop.epoch_loop, FastEpochLoop) == lean
        trainer.fit(module, DataLoader(torch.rand(20, 3), batch_size=2))
        received = [{name: value.item() for name, value in outputs.items()} for outputs in listener.received]
        weights = [weight.tolist() for weight in module.parameters()]
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        found.append((logger.rows, received, weights, metrics, trainer.global_step))
    lightnings, plain = found
    assert plain == lightnings
    rows, received, *_ = plain
    assert {"loss_step", "loss_epoch", "largest", "lr"} <= {name for _, row in rows for name in row}
    assert {} in received
    assert any("mean" in outputs for outputs in received)


class DictLogger(DummyLogger):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))


@pytest.mark.parametrize("method", ["backward", "optimizer_step", "optimizer_zero_grad", "on_after_batch_transfer"])
def test_a_method_that_somebody_wrote_is_called(method: str) -> None:
    calls = []

    def written(self: LightningModule, *args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return getattr(LightningModule, method)(self, *args, **kwargs)

    module = type("Own", (Talkative,), {method: written})()
    trainer = FastTrainer(max_epochs=1, logger=False, **QUIET)
    use_fast_loop(trainer, module, LightningDataModule())
    trainer.fit(module, DataLoader(torch.rand(8, 3) / 2, batch_size=2))
    assert len(calls) == 4


def test_an_optimizer_that_wants_a_closure_gets_one() -> None:
    class Newton(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(3, 1)

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            loss: Tensor = self.net(batch).square().mean()
            return loss

        def configure_optimizers(self) -> OptimizerLRScheduler:
            return torch.optim.LBFGS(self.parameters())

    module, trainer = Newton(), FastTrainer(max_epochs=2, logger=False, **QUIET)
    use_fast_loop(trainer, module, LightningDataModule())
    trainer.fit(module, DataLoader(torch.rand(8, 3), batch_size=4))
    assert trainer.global_step == 4
    assert module.net(torch.rand(8, 3)).abs().max() < 0.1


def test_a_transfer_hook_of_a_data_module_is_called(
    finished: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def hook(self: Digits, batch: Any, dataloader_idx: int) -> Any:
        calls.append(dataloader_idx)
        return batch

    monkeypatch.setattr(Digits, "on_after_batch_transfer", hook)
    finished("trainer=smoke", "trainer.max_epochs=1")
    assert len(calls) == 3 + 2 + 2  # training, validation and test


@pytest.mark.parametrize("version", ["2.7.0", "3.0", "2.5.1"])
def test_an_untested_version_of_lightning_uses_its_own_loop(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, module, data = _prepared()
    monkeypatch.setattr("lightning.__version__", version)
    assert not use_fast_loop(trainer, module, data)
    assert not isinstance(trainer.fit_loop.epoch_loop, FastEpochLoop)


def test_the_report_says_which_loop_ran(finished: Callable[..., Path]) -> None:
    assert read_report(finished("trainer=smoke"))["loop"] == "fast"
    assert read_report(finished("trainer=smoke", "trainer.gradient_clip_val=1"))["loop"] == "lightning"


def _prepared(*overrides: str) -> tuple[Trainer, BaseModule, InMemoryData]:
    cfg = compose("trainer.accelerator=cpu", *overrides)
    module, data = build_module(cfg), build_data(cfg)
    return build_training(cfg, module, data, Path("unused")).trainer, module, data
