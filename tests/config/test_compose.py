"""Every YAML in conf/ is found by listing it; these tests need no edit when one is added."""

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from leyden.config.builders import build_module, cfg_dict
from leyden.config.compose import compose, groups
from leyden.config.instantiate import build, build_factory
from leyden.config.rules import override
from leyden.data.datamodule import InMemoryData
from leyden.errors import UserError
from leyden.training.trainer import build_trainer
from tests.conftest import chosen

CHOICES = [f"{group}={choice}" for group, choices in groups().items() for choice in choices if group != "task"]


@pytest.mark.parametrize("choice", [c for c in CHOICES if c not in ("trainer=gpu", "trainer=ddp")])
def test_every_choice_composes_and_builds(choice: str) -> None:
    group, _, name = choice.partition("=")
    cfg = compose(*([*chosen(name), "model=mlp"] if group == "data" else [choice]))  # an mlp takes any data
    build_module(cfg)
    assert isinstance(build(cfg_dict(cfg.data), "data"), InMemoryData)
    build_trainer(cfg)


def test_every_task_is_that_of_a_data_set_or_a_model() -> None:
    tasks = set()
    for choice in CHOICES:
        group, _, name = choice.partition("=")
        if group in ("data", "model"):
            compose(*(chosen(name) if group == "data" else [choice]))
            tasks.add(HydraConfig.get().runtime.choices.task)
    assert tasks == set(groups()["task"])


def test_a_device_that_is_not_there_names_the_key() -> None:
    with pytest.raises(UserError, match=r"^trainer: "):
        build_trainer(compose("trainer.accelerator=tpu"))


def test_the_name_of_a_run_says_data_and_model() -> None:
    assert compose("data=mnist", "model=mlp").name == "mnist-mlp"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.batch_size=0"], "data.batch_size: got 0, must be at least 1"),
        (["data.batch_size=abc"], "data.batch_size: got 'abc', expected int"),
        (["data.batch_size=true"], "data.batch_size: got True, expected int"),
        (["data.fold=3", "data.num_folds=3"], "data.fold: got 3, must be between 0 and 2"),
        (["model.dropout=1.5"], "model.dropout: got 1.5"),
        (["model.activation=rleu"], "model.activation: got 'rleu', did you mean relu?; allowed are relu, leaky_relu"),
        (["model.hidden=[10,x]"], "model.hidden: got [10, 'x'], expected Sequence[int]"),
        (["model.hidden=[10,0]"], "model.hidden: got [10, 0], every size must be at least 1"),
        (
            ["data=synthetic", "data.shape=[1,8,8]"],
            "model.channels: got [6, 16], but images of shape [1, 8, 8]",
        ),
        (["task.label_smoothing=2"], "task.label_smoothing: got 2"),
        (["optimizer.lr=-1"], "optimizer: Invalid learning rate: -1"),
        (["scheduler.pct_start=2"], "scheduler.pct_start: got 2, must be between 0 and 1"),
        (["scheduler=step", "scheduler.milestones=[5]"], "scheduler.milestones: got [5]"),
        (["+model.depth=3"], "model.depth: there is no such key"),
    ],
)
def test_a_wrong_value_names_its_key(overrides: list[str], message: str) -> None:
    cfg = compose(*overrides)
    with pytest.raises(UserError) as caught:
        _build_all(cfg)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["task=regression", "data=digits"], "data.num_targets"),
        (["task=transcription", "data=mnist"], "data.max_digits"),
        (["task=classification", "data=diabetes"], "data.num_classes"),
    ],
)
def test_a_task_that_does_not_go_with_the_data_says_what_it_wants(overrides: list[str], wanted: str) -> None:
    with pytest.raises(UserError, match=f"^model.num_outputs: wants {wanted}, which there is not; do task, data and"):
        compose(*overrides)


def _build_all(cfg: DictConfig) -> None:
    build_module(cfg)
    build(cfg_dict(cfg.data), "data")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "leyden.run.os.system",  # reached through a trusted module
        "leyden.data.cifar10.shutil",
        "leyden.data.cifar10.download",  # trusted, and takes none of these arguments
        "leyden.nets.nothing.Net",
        "torch.load",
    ],
)
def test_nothing_outside_leyden_is_called(target: str) -> None:
    with pytest.raises(UserError, match=r"^model\."):
        build({"_target_": target, "command": "true"}, "model")


def test_arguments_of_a_base_class_are_known() -> None:
    factory = build_factory({"_target_": "leyden.data.mnist.MNIST", "mirrors": ["a/"], "batch_size": 3}, "data")
    assert factory.keywords == {"mirrors": ["a/"], "batch_size": 3}


def test_a_resumed_run_takes_only_what_does_not_change_it() -> None:
    cfg = compose()
    assert override(cfg, ["trainer.max_epochs=30", "resume=x"]).trainer.max_epochs == 30
    for bad in ("model.dropout=0.5", "model=mlp", "data.batch_size=3", "trainer.max_epoch=3", "trainer.max_epochs=a"):
        with pytest.raises(UserError, match=f"^{bad.partition('=')[0]}: "):
            override(cfg, [bad])
