"""Allowed keys and values, and what a resumed run may change."""

import inspect

import pytest
from lightning.pytorch import Trainer

from leyden.config.compose import compose
from leyden.config.rules import REPLACED, RESUMABLE, TrainerSettings, check_resumable, metric_mode
from leyden.errors import UserError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.max_epochs=0", "trainer.max_epochs: got 0, must be at least 1"),
        ("trainer.max_epochs=1.5", "trainer.max_epochs: got 1.5, expected a whole number"),
        ("trainer.max_epochs=true", "trainer.max_epochs: got True, expected a whole number"),
        ("trainer.max_steps=0", "trainer.max_steps: got 0, must be at least 1, or -1"),
        ("trainer.max_time=3h", "trainer.max_time: got 3h, must be DD:HH:MM:SS"),
        ("trainer.check_val_every_n_epoch=20", "trainer.check_val_every_n_epoch: got 20, but there are only 10 epochs"),
        ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch: got 0"),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches: got 0, must be at least 1 batch"),
        ("trainer.limit_val_batches=0", "trainer.limit_val_batches: got 0"),
        ("trainer.limit_val_batches=1.5", "trainer.limit_val_batches: got 1.5, must be a fraction"),
        ("trainer.devices=-1", "trainer.devices: got -1"),
        ("trainer.devices=2147483648", "trainer.devices: got 2147483648, must be a number from 1 to 1024"),
        ("trainer.devices=[0,0]", "trainer.devices: got [0, 0], must be a list of distinct"),
        ("trainer.accelerator=tpu", "trainer.accelerator: got 'tpu'"),
        ("trainer.precision=8", "trainer.precision: got 8"),
        ("trainer.matmul_precision=low", "trainer.matmul_precision: got 'low'"),
        ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val: got -1"),
        ("+trainer.enable_checkpointing=false", "trainer.enable_checkpointing: cannot be set"),
        ("+trainer.callbacks=x", "trainer.callbacks: cannot be set; use +callbacks.NAME"),
        ("+trainer.max_epoch=3", "trainer.max_epoch: there is no such key, did you mean max_epochs?"),
        ("checkpoint.every_n_steps=-1", "checkpoint.every_n_steps: got -1, must be at least 0"),
        ("early_stopping.min_delta=nan", "early_stopping.min_delta: got nan, must be a finite number"),
        ("optimizer.lr=inf", "optimizer.lr: got inf, must be a finite number"),
        ("optimizer.betas=[0.9,nan]", "optimizer.betas.1: got nan, must be a finite number"),
        ("objective.metric=test/acc", "objective.metric: got test/acc, must be a validation metric"),
        ("objective.mode=best", "objective.mode: got 'best'; allowed are min, max"),
        ("name=3", "name: got 3, expected a text"),
        ("trainer.devices=''", "trainer.devices: got '', expected a whole number or a list of whole numbers"),
        ("name=../x", "name: got '../x', must be the name of a folder"),
        ("name=a/b", "name: got 'a/b', must be the name of a folder"),
        ("seed=-1", "seed: got -1, must be at least 0"),
        ("seed=99999999999999999999", "seed: got 99999999999999999999"),
        ("trainer.accumulate_grad_batches=99999999999999999999", "trainer.accumulate_grad_batches: got 9999"),
        ("model.channels=[99999999999999999999]", "model.channels.0: got 99999999999999999999, must be a whole number"),
        ("+foo=1", "foo: there is no such key"),
        ("+callbacks.x=1", "callbacks.x: got 1, must have a class"),
        ("model=null", "model: got null, must be one of"),
        ("model=_codec", "model: got _codec, must be one of"),
        ("data=", "data: got nothing, must be one of"),
        ("model=3", "model: got 3, must be one of"),
        ("scheduler=1e308", "scheduler: got 1e308, must be one of"),
        ("trainer=[0]", "trainer: got [0], must be one of"),
        ("trainer=[[smoke]]", "trainer: got [[smoke]], must be one of"),
        ("callbacks=[none, null]", "callbacks: got [none, null], must be one of"),
        ("logger=[{a:1}]", "logger: got [{a:1}], must be one of"),
    ],
)
def test_a_value_that_is_not_allowed_names_its_key(override: str, message: str) -> None:
    from leyden.config.builders import build_callbacks, section

    with pytest.raises(UserError) as caught:
        build_callbacks(section(compose(override), "callbacks"))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_every_argument_of_the_trainer_is_allowed_or_replaced() -> None:
    arguments = set(inspect.signature(Trainer.__init__).parameters) - {"self"}
    own = {"compile", "channels_last", "matmul_precision"}
    allowed = set(TrainerSettings.__dataclass_fields__) - own
    assert allowed <= arguments
    assert arguments - allowed <= set(REPLACED)
    assert not allowed & set(REPLACED)


@pytest.mark.parametrize("metric", ["val/loss", "val/rmse", "val/mae_vs_naive", "val/nll", "val/fcd", "val/my_loss"])
def test_metrics_that_are_better_small(metric: str) -> None:
    assert metric_mode(metric) == "min"


@pytest.mark.parametrize("metric", ["val/acc", "val/auroc", "val/f1", "val/r2", "val/exact", "val/map", "val/coverage"])
def test_metrics_that_are_better_large(metric: str) -> None:
    assert metric_mode(metric) == "max"


def test_the_mode_follows_from_the_metric() -> None:
    assert compose("objective.metric=val/loss").objective.mode == "min"
    assert compose("objective.metric=val/f1").objective.mode == "max"
    with pytest.raises(UserError, match=r"objective\.mode: got max, but val/loss is better if it is smaller"):
        compose("objective.metric=val/loss", "objective.mode=max")


def test_a_resumed_run_changes_only_what_is_listed() -> None:
    check_resumable([*RESUMABLE, "callbacks.x._target_", "logger.wandb.offline"])
    for key in (
        "trainer.precision",
        "trainer.limit_train_batches",
        "model.dropout",
        "data.batch_size",
        "seed",
        "trainer",
    ):
        with pytest.raises(UserError, match=f"^{key}: cannot change when a run is resumed"):
            check_resumable([key])
