"""What the checkpoints of a run hold: best.ckpt only what is tested and loaded, last.ckpt all that a training needs."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import leyden
from leyden.records.checkpoint_file import read_checkpoint
from leyden.records.json_files import read_report
from leyden.records.run_folder import best_checkpoint, last_checkpoint, previous_checkpoint
from leyden.run import resume
from leyden.tools.evaluate import evaluate
from leyden.training.checkpoints import TRAINING_ENTRIES, all_finite
from scripts.torture_lib.same_bits import differing
from tests.conftest import small

Finished = Callable[..., Path]
TINY = ("trainer=smoke", "model=mlp", "model.hidden=[64]", "trainer.max_epochs=1", "optimizer=adam")


def size(checkpoint: Path) -> int:
    return checkpoint.stat().st_size


def test_the_best_checkpoint_has_no_optimizer(finished: Finished) -> None:
    folder = finished(*TINY)
    best, last = read_checkpoint(best_checkpoint(folder)), read_checkpoint(last_checkpoint(folder))
    assert not set(TRAINING_ENTRIES) & set(best)
    assert set(TRAINING_ENTRIES) <= set(last)
    assert differing(best["state_dict"], last["state_dict"], "state_dict") == []
    weights = sum(weight.numel() * weight.element_size() for weight in best["state_dict"].values())
    assert weights < size(best_checkpoint(folder)) < 1.2 * weights
    assert size(last_checkpoint(folder)) > 3 * weights  # Adam has two states for each weight


def test_a_run_folder_whose_best_checkpoint_has_an_optimizer_is_tested_loaded_and_resumed(
    finished: Finished, short_feature_net: None
) -> None:
    command = ("trainer=smoke", *small("vae"), "trainer.max_epochs=1")
    folder, other = finished(*command), finished(*command)
    expected = read_report(folder)
    # Older versions wrote all entries into both files.
    best = read_checkpoint(last_checkpoint(folder)) | read_checkpoint(best_checkpoint(folder))
    torch.save(best, best_checkpoint(folder))
    assert differing(leyden.load(folder).module.state_dict(), best["state_dict"], "state_dict") == []
    (folder / "report.json").unlink()
    resume(folder)
    assert read_report(folder)["metrics"] == expected["metrics"]
    for one in (folder, other):
        resume(one, ["trainer.max_epochs=2"])
    for path in (best_checkpoint, last_checkpoint, previous_checkpoint):
        assert differing(*(read_checkpoint(path(one)) for one in (folder, other)), path.__name__) == []


def test_a_callback_that_changes_the_saved_weights_changes_the_best_checkpoint(finished: Finished) -> None:
    """The average of the weights is validated, tested and loaded, not the weights of the last step."""
    average = "+callbacks.average._target_=lightning.pytorch.callbacks.EMAWeightAveraging"
    folder = finished(*TINY, "trainer.limit_test_batches=1.0", average)
    best = read_checkpoint(best_checkpoint(folder))
    assert differing(best["state_dict"], best["current_model_state"], "") != []
    cfg = OmegaConf.load(folder / "config.yaml")
    cfg.callbacks = {}  # a stored config may not add a callback
    OmegaConf.save(cfg, folder / "config.yaml")
    report = read_report(folder)["metrics"]
    for metric, value in evaluate(folder, accelerator="cpu").items():
        assert value == report[metric]


def test_after_a_training_on_all_samples_the_last_epoch_is_tested(finished: Callable[..., Path]) -> None:
    folder = finished(
        "data.train_on_all=true", "model=mlp", "trainer.max_epochs=4", "optimizer.lr=0", "early_stopping.patience=1"
    )
    report = read_report(folder)
    assert report
    assert report["objective"]["epoch"] == 3, "the same weights: no later epoch is better than the first"
    assert report["ended_by"]["key"] == "trainer.max_epochs"
    assert report["data"]["train_on_all"] is True


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_number_that_is_not_finite_is_found(value: float, dtype: torch.dtype) -> None:
    others = [torch.full((3,), 3e38), torch.empty(0), torch.tensor(7), torch.tensor([True])]
    weight = torch.ones(2, 5, dtype=dtype)
    assert all_finite([*others, weight])
    weight[1, 2] = value
    assert not all_finite([*others, weight])
