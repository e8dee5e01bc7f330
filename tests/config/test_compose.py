"""Every YAML file in conf/ is found by listing it. These tests need no edit when one is added."""

import time

import pytest
from hydra.core.hydra_config import HydraConfig

from leyden.config.builders import build_data, build_module
from leyden.config.compose import compose, groups
from leyden.data.datamodule import InMemoryData
from leyden.errors import UserError
from tests.conftest import chosen, data_for, model_for

# The tasks come with data sets and models; tests/test_run.py builds the experiments.
OTHERS = ("task", "experiment")
CHOICES = [f"{group}={choice}" for group, choices in groups().items() for choice in choices if group not in OTHERS]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_builds(choice: str) -> None:
    group, _, name = choice.partition("=")
    fitting = chosen(data_for(name)) if group == "model" else []
    cfg = compose(*([*chosen(name), f"model={model_for(name)}"] if group == "data" else [choice, *fitting]))
    build_module(cfg)
    assert isinstance(build_data(cfg), InMemoryData)


def test_every_task_belongs_to_a_data_set_or_a_model_unless_it_needs_no_labels() -> None:
    tasks = {"simclr", "vicreg", "byol", "mae", "clip"}  # chosen by name
    for choice in CHOICES:
        group, _, name = choice.partition("=")
        if group in ("data", "model"):
            compose(*(chosen(name) if group == "data" else [choice]))
            tasks.add(HydraConfig.get().runtime.choices.task)
    assert tasks == set(groups()["task"])


def test_every_choice_has_a_description() -> None:
    for group, choices in groups().items():
        for name, headline in choices.items():
            assert headline, f"conf/{group}/{name}.yaml needs a comment that says what it is"


def test_the_name_of_a_run_contains_data_and_model() -> None:
    assert compose("data=mnist", "model=mlp").name == "mnist-mlp"


def test_several_loggers_and_callbacks_of_ones_own() -> None:
    cfg = compose("logger=[tensorboard,csv]", "+logger.own._target_=my.Logger", "+callbacks.own._target_=my.Callback")
    assert list(cfg.logger) == ["tensorboard", "own"]
    assert list(cfg.callbacks) == ["own"]
    assert not compose("logger=none").logger
    assert not compose("logger=csv").logger


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=cnnn"], "model=cnnn: there is no such model, did you mean cnn?"),
        (["model=CNN"], "model=CNN: there is no such model, did you mean cnn?"),
        (["model.dropuot=1"], "model.dropuot: there is no such key, did you mean model.dropout?"),
        (["modle=mlp"], "modle: there is no such key, did you mean model?"),
        (["lr=0.1"], "lr: there is no such key, did you mean optimizer.lr?"),
        (["batch_size=3"], "batch_size: there is no such key, did you mean data.batch_size"),
        (["model.dropout"], "model.dropout: cannot be read. Put the value in quotes"),
        (["model.hidden=[1"], "model.hidden=[1: cannot be read. Put the value in quotes"),
        (["trainer.logger=true"], "trainer.logger: cannot be set; use logger="),
        (["+trainer.max_steps=3"], "trainer.max_steps: exists. Leave out the + in front of it"),
    ],
)
def test_an_override_that_is_wrong_gives_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(*overrides)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["task=regression", "data=digits"], "data.num_targets, which data=digits does not define"),
        (["task=transcription", "data=mnist"], "data.max_digits, which data=mnist does not define"),
        (["task=classification", "data=diabetes"], "data.num_classes, which data=diabetes does not define"),
    ],
)
def test_a_task_that_does_not_fit_the_data_names_the_missing_key(overrides: list[str], wanted: str) -> None:
    with pytest.raises(UserError, match=f"^[a-z_.]+ refers to {wanted}. Choose a task, a data set and a model"):
        compose(*overrides)


def test_an_override_with_many_values_is_rejected_before_it_is_parsed() -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match=r"^model\.hidden: got 200,000 values, must be at most 5,000"):
        compose("model=mlp", f"model.hidden={[8] * 200_000}")
    assert time.monotonic() - began < 5
