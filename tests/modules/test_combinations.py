"""Values that are allowed alone, but not together."""

from types import SimpleNamespace
from typing import cast

import pytest

from leyden.config.builders import build_data, build_module
from leyden.config.compose import compose
from leyden.data.datamodule import InMemoryData
from leyden.errors import UserError
from leyden.modules.combinations import check_combinations, trains_on_one_sample


def build_and_check(*overrides: str) -> None:
    cfg = compose(*overrides)
    module, data = build_module(cfg), build_data(cfg)
    check_combinations(module, data, cfg.trainer.compile)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["data=digit_pairs", "task=classification"],
            "task: got Classifier, which does not fit the targets of DigitPairs",
        ),
        (["data.batch_size=1"], "data.batch_size: got 1, but the batch norm of this model needs at least 2"),
        (["model=mlp", "model.norm=batch", "data.batch_size=1"], "data.batch_size: got 1, but the batch norm"),
        (["model=gan", "task.r1=1.0", "trainer.compile=true"], "trainer.compile: cannot be combined with task.r1=1.0"),
        (["data=digit_pairs", "model=mlp", "+task.mixup=1"], "task.mixup: there is no such key"),
        (["task.cutmix=1e-320"], "task.cutmix: got 1e-320, must be 0, or between 0.01 and 1000.0"),
        (["task.mixup=1e9"], "task.mixup: got 1000000000.0, must be 0"),
        (["~scheduler.pct_start"], "scheduler: OneCycle is missing a required argument: 'pct_start'"),
        (["scheduler.div_factor=0"], "scheduler.div_factor: got 0, must be at least 1"),
        (["scheduler.div_factor=.nan"], "scheduler.div_factor: got"),
        (["scheduler.final_div_factor=-1"], "scheduler.final_div_factor: got -1, must be at least 1"),
        (["scheduler=step", "scheduler.gamma=-1"], "scheduler.gamma: got -1, must be at least 0"),
        (["scheduler=plateau", "scheduler.factor=-0.5"], "scheduler.factor: got -0.5, must be at least 0"),
        (["scheduler=plateau", "scheduler.patience=-1"], "scheduler.patience: got -1, must be at least 0"),
        (["model=vae", "task.beta=-1"], "task.beta: got -1, must be at least 0"),
        (["model=gan", "task.ema=1"], "task.ema: got 1, must be at least 0 and below 1"),
        (["model=transformer", "model.mlp_ratio=1e400"], "model.mlp_ratio: got inf"),
    ],
)
def test_each_is_named_in_one_line_before_data_is_read(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_and_check(*overrides)
    assert str(caught.value).startswith(message)


def test_cutmix_and_test_time_augmentation_of_features() -> None:
    module = build_module(compose("task.cutmix=1.0"))
    features = cast(InMemoryData, SimpleNamespace(shape=[10], batch_size=64, target_kind=None))
    with pytest.raises(UserError, match=r"^task.cutmix: got 1.0, needs images, but data.shape is \[10\]"):
        check_combinations(module, features, False)
    module = build_module(compose("task.tta=mirror"))
    with pytest.raises(UserError, match=r"^task.tta: got mirror, needs images, but data.shape is \[10\]"):
        check_combinations(module, features, False)


@pytest.mark.parametrize(
    ("overrides", "possible"),
    [
        (["model=cnn", "model.norm=layer"], True),
        (["model=cnn"], False),
        (["model=resnet", "model.widths=[4,8]", "model.depths=[1,1]"], True),
        (["model=lstm"], True),
        (["model=gan"], True),
        (["model=autoencoder"], True),
    ],
)
def test_batch_norm_trains_on_one_sample_if_it_has_several_pixels(overrides: list[str], possible: bool) -> None:
    cfg = compose(*overrides)
    assert trains_on_one_sample(build_module(cfg).net, cfg.data.shape) is possible
