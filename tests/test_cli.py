"""The command line as a person meets it, in real processes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from leyden.config.compose import groups
from tests.conftest import ROOT, Fork, Train


def test_help_names_every_choice_and_what_it_is(train: Train) -> None:
    text = train("--help").stdout
    width = max(len(name) for choices in groups().values() for name in choices)
    for group, choices in groups().items():
        assert f"\n{group}\n" in text
        for name, headline in choices.items():
            assert f"\n  {name:{width}}  {headline}\n" in text
            assert headline, f"conf/{group}/{name}.yaml says not what it is"
    assert text.count("  python train.py ") >= 8


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["model=cnnn"], ["model.dropuot=1"], ["seed=x"]])
def test_answers_that_need_no_torch_do_not_import_it(arguments: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["train.py", *{arguments!r}]
from leyden.cli import main
try:
    main()
finally:
    print("torch" in sys.modules, "lightning" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False False"


@pytest.mark.parametrize(
    ("override", "start"),
    [
        ("model=cnnn", "model=cnnn: there is no such model, did you mean cnn?"),
        ("model.dropuot=1", "model.dropuot: there is no such key, did you mean model.dropout?"),
        ("modle=mlp", "modle: there is no such key, did you mean model?"),
        ("trainer.max_epochs=abc", "trainer.max_epochs: got 'abc', expected a whole number"),
        ("checkpoint.every_n_steps=-1", "checkpoint.every_n_steps: got -1"),
        ("early_stopping.patience=0", "early_stopping.patience: got 0"),
        ("objective.mode=best", "objective.mode: got 'best'; allowed are min, max"),
        ("model.dropout", "model.dropout: cannot be read. Put the value in quotes"),
    ],
)
def test_a_mistake_gives_one_line_and_exit_code_2(train: Train, tmp_path: Path, override: str, start: str) -> None:
    done = train(override)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {start}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "logs").exists()


def test_divergence_exits_with_3_and_says_at_which_step(fork: Fork, tmp_path: Path) -> None:
    steep = ["optimizer=sgd", "scheduler=none", "optimizer.lr=1e6", "checkpoint.every_n_steps=1", "logger=none"]
    done = fork(*steep, f"paths.logs={tmp_path / 'logs'}").wait()
    assert done.returncode == 3
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: the loss is not finite at step ")
    for path in (tmp_path / "logs").glob("**/*.ckpt"):
        weights = torch.load(path, weights_only=True)["state_dict"].values()
        assert all(weight.isfinite().all() for weight in weights), "a checkpoint holds diverged weights"
