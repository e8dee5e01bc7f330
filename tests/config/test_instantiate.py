"""Only trusted classes are built, only with arguments that fit their annotations."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
import torch
from omegaconf import DictConfig
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from leyden.config.builders import build_data, build_module
from leyden.config.compose import compose, groups
from leyden.config.instantiate import Kind, describe, instantiate, instantiate_partial, locate
from leyden.errors import UserError
from leyden.optim.averages import Average, NoAverage
from leyden.optim.privacy import DPSGD, NoPrivacy
from tests.conftest import chosen


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.batch_size=0"], "data.batch_size: got 0, must be at least 1"),
        (["data.batch_size=abc"], "data.batch_size: got 'abc', expected a whole number"),
        (["data.batch_size=true"], "data.batch_size: got True, expected a whole number"),
        (["data.fold=3", "data.num_folds=3"], "data.fold: got 3, must be between 0 and 2"),
        (["model.dropout=1.5"], "model.dropout: got 1.5"),
        (["model.activation=rleu"], "model.activation: got 'rleu', did you mean relu?; allowed are relu, leaky_relu"),
        (["model.hidden=[10,x]"], "model.hidden: got [10, 'x'], expected a list of whole numbers"),
        (["data=series", "model=mlp", "data.periods=''"], "data.periods: got '', expected a list of whole numbers"),
        (["model.hidden=[10,0]"], "model.hidden: got [10, 0], every size must be at least 1"),
        (["data=synthetic", "data.shape=[1,8,8]"], "model.channels: got [6, 16], but images of shape [1, 8, 8]"),
        (["task.label_smoothing=2"], "task.label_smoothing: got 2"),
        (["optimizer.lr=-1"], "optimizer: Invalid learning rate: -1"),
        (["scheduler.pct_start=2"], "scheduler.pct_start: got 2, must be between 0 and 1"),
        (["scheduler=step", "scheduler.milestones=[5]"], "scheduler.milestones: got [5]"),
        (["+model.depth=3"], "model.depth: there is no such key"),
        (["objective.metric=val/typo"], "objective.metric: got val/typo"),
        (["objective.metric=val/los"], "objective.metric: got val/los, did you mean val/loss?"),
    ],
)
def test_a_wrong_value_names_its_key(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_all(compose(*overrides))
    assert str(caught.value).startswith(message)


def build_all(cfg: DictConfig) -> None:
    build_module(cfg)
    build_data(cfg)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "leyden.run.os.system",  # reached through a trusted module
        "leyden.data.cifar10.shutil",
        "leyden.data.cifar10.download",  # a function, not a class
        "leyden.nets.pretrained.published",
        "leyden.data.image_files.listing.class_names",
        "leyden.nets.nothing.Net",
        "torch.load",
        "leyden.nets.cnn.nn.Module",
        "",
        "cnn",
        "..",
    ],
)
def test_nothing_but_trusted_classes_is_called(target: str) -> None:
    with pytest.raises(UserError, match=r"^model\._target_: "):
        instantiate({"_target_": target, "command": "true"}, "model")


@pytest.mark.parametrize(
    ("key", "target", "kind"),
    [
        ("scheduler", "torch.optim.SGD", LRScheduler),
        ("optimizer", "leyden.nets.mlp.MLP", Optimizer),
        ("privacy", "leyden.optim.federated.FedAvg", (NoPrivacy, DPSGD)),
        ("averaging", "leyden.optim.privacy.NoPrivacy", (NoAverage, Average)),
        ("scheduler", "leyden.optim.constant", Optimizer),
    ],
)
def test_a_class_for_another_purpose_is_rejected(key: str, target: str, kind: Kind) -> None:
    optimizer = SGD([torch.zeros(1)], lr=1.0)
    extra = {"optimizer": optimizer, "total_steps": 10} if target == "leyden.optim.constant" else {}
    with pytest.raises(UserError, match=rf"^{key}\._target_: [\w.]+ is not a subclass of \S"):
        instantiate({"_target_": target}, key, kind, **extra)


@pytest.mark.parametrize("target", [None, 3, ["x"]])
def test_a_target_that_is_no_text_is_named(target: Any) -> None:
    with pytest.raises(UserError, match=r"^model\._target_: got .*, must be the dotted path of a class"):
        instantiate({"_target_": target}, "model")


def test_arguments_are_checked_before_anything_is_called() -> None:
    factory = instantiate_partial({"_target_": "leyden.data.mnist.MNIST", "mirrors": ["a/"], "batch_size": 3}, "data")
    assert factory.keywords == {"mirrors": ["a/"], "batch_size": 3}
    with pytest.raises(UserError, match=r"^data\.batchsize: there is no such key, did you mean batch_size\?"):
        instantiate_partial({"_target_": "leyden.data.mnist.MNIST", "batchsize": 3}, "data")


def test_a_class_whose_package_is_missing_is_named() -> None:
    class NeedsMore:
        def __init__(self) -> None:
            raise ModuleNotFoundError("No module named 'more'")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leyden.nets.mlp.NeedsMore", NeedsMore, raising=False)
        NeedsMore.__module__ = "leyden.nets.mlp"
        with pytest.raises(UserError, match=r"^model: NeedsMore needs another package"):
            instantiate({"_target_": "leyden.nets.mlp.NeedsMore"}, "model")


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (float, "a number"),
        (int | None, "a whole number or null"),
        (int | float, "a number"),
        (bool | Literal["warn"], "true or false or warn"),
        (Sequence[int], "a list of whole numbers"),
        (Mapping[str, int], "a mapping"),
    ],
)
def test_a_type_is_described_in_words(hint: Any, words: str) -> None:
    assert describe(hint) == words


CHOICES = [f"{group}={choice}" for group in ("data", "model", "optimizer", "scheduler") for choice in groups()[group]]


def spec_of(choice: str) -> DictConfig:
    """Return the section of the config that a choice of a group gives."""
    group, _, name = choice.partition("=")
    spec: DictConfig = compose(*(chosen(name) if group == "data" else [choice]))[group]
    return spec


@pytest.mark.parametrize("choice", CHOICES)
def test_help_lists_every_argument_and_starts_with_a_summary(choice: str) -> None:
    spec = spec_of(choice)
    if not spec["_target_"].startswith("leyden."):
        return
    target = locate(spec["_target_"], choice)
    parameters = inspect.signature(target).parameters
    assert set(spec) - {"_target_"} <= set(parameters), "help() does not show every key of the YAML"
    assert all(p.kind is not p.VAR_KEYWORD for p in parameters.values())
    summary = (inspect.getdoc(target) or "").splitlines()[0]
    assert summary
    assert not summary.startswith("Args")


@pytest.mark.parametrize("choice", CHOICES)
def test_a_default_value_is_written_once(choice: str) -> None:
    spec = spec_of(choice)
    if spec["_target_"].startswith("leyden."):
        parameters = inspect.signature(locate(spec["_target_"], choice)).parameters
        twice = [
            name for name in spec if name in parameters and parameters[name].default is not inspect.Parameter.empty
        ]
        assert twice == [], "the YAML and the code both have a default"
