"""Plans: names, defaults, and the errors that are raised before anything is written."""

from pathlib import Path

import pytest

from leyden.config.compose import compose, groups
from leyden.errors import UserError
from leyden.sweep.axes import Number
from tests.sweep.fake_jobs import DROPOUT, make_plan, quadratic, sweep


def test_default_values_outside_of_the_space_are_kept(logs: str) -> None:
    plan = make_plan(logs, DROPOUT, "model.hidden=choice([1],[2])", "optimizer=sgd,adamw", "sweep.n_trials=4")
    assert plan.default == {"model.dropout": 0.0, "optimizer": "adamw"}


def test_settings_that_do_not_change_the_trials_do_not_change_the_name(logs: str) -> None:
    one = make_plan(logs, DROPOUT, "model=mlp", "sweep.n_trials=2")
    assert one.name.startswith("digits-mlp-")
    assert one.name == make_plan("model=mlp", DROPOUT, "sweep.n_trials=20", "sweep.storage=sqlite:///x.db").name
    for other in ("sweep.pruner=median", "sweep.sampler=random", "trainer.max_epochs=3", "sweep.seeds=2"):
        assert one.name != make_plan(logs, DROPOUT, "model=mlp", "sweep.n_trials=2", other).name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimizer.lr=interval(0.1,1)"], "sweep.n_trials: must be given, because optimizer.lr is an interval"),
        (["sweep.n_trials=3"], "sweep.n_trials: no key has several values"),
        (["sweep.n_trials=0", "seed=0,1"], "sweep.n_trials: got 0, must be at least 1"),
        (["sweep.sampler=tpee"], "sweep.sampler: got 'tpee', did you mean tpe?; allowed are tpe, gp"),
        (["sweep.pruner=medain"], "sweep.pruner: got 'medain', did you mean median?; allowed are none, median"),
        (["sweep.storage=mysql://x"], "sweep.storage: got 'mysql://x', must be journal"),
        (["sweep.name=a/b", "seed=0,1"], "sweep.name: got 'a/b'"),
        (["sweep.pruner=wilcoxon", "model=mlp,cnn"], "sweep.pruner: wilcoxon compares trials seed by seed"),
        (["sweep.seeds=2", "seed=0,1"], "sweep.seeds: the seed is swept already"),
        (["seed=0,1", "sweep.objectives={test/acc: max}"], "sweep.objectives: test/acc is a metric of the test set"),
        (["seed=0,1", "sweep.objectives={metrics.test/acc: max}"], "sweep.objectives: metrics.test/acc is a metric"),
        (["seed=0,1", "sweep.objectives={val/acc: most}"], "sweep.objectives: got val/acc: most, expected min or max"),
        (
            ["seed=0,1", "sweep.objectives={val/loss: max}"],
            "sweep.objectives: got val/loss: max, but val/loss",
        ),
        (["seed=0,1", "objective.metric=test/acc"], "objective.metric: got test/acc"),
        (["seed=0,1", "sweep.retry_failed=1"], "sweep.retry_failed: got 1, expected true or false"),
        (["seed=0,1", "sweep.name=.."], "sweep.name: got '..', must be the name of a folder"),
        (["seed=0,1", "sweep.name=/tmp/x"], "sweep.name: got '/tmp/x', must be the name of a folder"),
        (["sweep=lr,cv"], "sweep: must have one value, got sweep=lr,cv"),
        (["seed=0,1", "resume=x"], "resume: not used with -m"),
        (["optimizer.lr=interval(1,0)"], "optimizer.lr: the interval from 1.0 to 0.0 is empty"),
        (
            ["optimizer.lr=tag(log,interval(0,1))"],
            "optimizer.lr: an interval on a logarithmic scale must start above 0",
        ),
        (["sweep.space={model.dropout: 0.1}"], "sweep.space: model.dropout=0.1 is one value"),
        (
            [DROPOUT, "sweep.n_trials=3", "sweep.enqueue=[{model.dropout: 2}]"],
            "sweep.enqueue: model.dropout=2 is outside",
        ),
        ([DROPOUT, "sweep.n_trials=3", "sweep.enqueue=[{model.droput: 2}]"], "sweep.enqueue: model.droput is not"),
        (
            ["seed=0,1", "sweep.pruner=median", "sweep.objectives={val/acc: max, parameters: min}"],
            "sweep.pruner: median works with one objective only",
        ),
        (
            ["seed=0,1", "sweep.pruner=median", "sweep.objectives={parameters: min}"],
            "sweep.pruner: median compares val/acc",
        ),
    ],
)
def test_a_mistake_names_its_key_before_anything_is_written(
    tmp_path: Path, logs: str, arguments: list[str], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        sweep(quadratic, logs, *arguments)
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.parametrize("key", ["sampler", "pruner"])
def test_arguments_that_optuna_does_not_accept_are_rejected(tmp_path: Path, logs: str, key: str) -> None:
    pruner = "sweep.pruner=median"
    with pytest.raises(UserError, match=rf"^sweep.{key}_args: .*unexpected keyword argument 'x'"):
        sweep(quadratic, logs, DROPOUT, "sweep.n_trials=3", pruner, f"sweep.{key}_args={{x: 1}}")
    assert not (tmp_path / "sweeps").exists()


def test_the_command_line_takes_precedence_over_the_sweeps_file() -> None:
    plan = make_plan("sweep=lr", "model=mlp", "optimizer.lr=tag(log, interval(0.01, 0.1))")
    assert plan.space.axes == (Number("optimizer.lr", (), 0.01, 0.1, 0, False, True),)
    plan = make_plan("sweep=cnn_cifar10", "data=mnist", "model.dropout=0.1", "sweep.n_trials=7")
    assert "data=cifar10" not in plan.base
    assert "model.dropout" not in {axis.key for axis in plan.space.axes}
    assert plan.n_trials == 7


@pytest.mark.parametrize("recipe", groups()["sweep"])
def test_every_file_in_conf_sweep_makes_a_plan(tmp_path: Path, recipe: str) -> None:
    plan = make_plan(f"sweep={recipe}", f"paths.logs={tmp_path}")
    assert plan.n_trials >= 1
    assert all("=" in override for override in plan.base)


def test_a_sweep_over_experiments_is_named_after_them(logs: str) -> None:
    same = make_plan(logs, "experiment=mnist_mlp_sgd,mnist_mlp_momentum")
    assert same.name.startswith("experiment-mnist-mlp-")
    different = make_plan(logs, "experiment=mnist_mlp_sgd,mnist_resnet")
    assert different.name.startswith("experiment-mnist-")
    assert not different.name.startswith("experiment-mnist-mlp")
    assert make_plan(logs, "data=digits,mnist", "model=mlp,cnn").name.startswith("data-model-")


def test_a_difference_of_two_sweeps_is_shown_in_hydras_grammar(logs: str) -> None:
    sweep(quadratic, logs, "model=cnn,mlp", "sweep.name=x")
    with pytest.raises(UserError, match=r"they differ: model=cnn,mlp there, model=mlp,gru here$"):
        sweep(quadratic, logs, "model=mlp,gru", "sweep.name=x")


def test_the_sweep_of_architectures_needs_no_download() -> None:
    (axis,) = make_plan("sweep=architectures").space.axes
    assert "pretrained" not in axis.values()
    assert all(not str(value).startswith("_") for value in axis.values())


@pytest.mark.parametrize("option", ["-m", "--multirun"])
def test_a_sweep_cannot_be_composed_in_a_notebook(option: str) -> None:
    with pytest.raises(UserError, match=rf"^{option}: is an option, not an override"):
        compose(option, "model=mlp,cnn")
