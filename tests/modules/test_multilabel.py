"""Runs with several labels per sample."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import leyden
from leyden.modules.multilabel import Multilabel


@pytest.mark.filterwarnings("ignore:.*No positive samples")
def test_thresholds_chosen_on_validation_are_tested_and_are_loaded_with_the_run(finished: Callable[..., Path]) -> None:
    overrides = ["model=mlp", "data=digit_pairs", "data.num_train=2000", "data.num_eval=500", "trainer.max_epochs=2"]
    fixed, chosen = finished(*overrides), finished(*overrides, "task.thresholds=f1")
    reports = [json.loads((folder / "report.json").read_text()) for folder in (fixed, chosen)]
    assert reports[0]["thresholds"] == [0.5] * 10
    assert len(set(reports[1]["thresholds"])) == 10
    assert reports[1]["metrics"]["val/f1"] > reports[0]["metrics"]["val/f1"]
    model = leyden.load(chosen).module
    assert isinstance(model, Multilabel)
    assert model.thresholds.tolist() == reports[1]["thresholds"]
    inputs = torch.randn(5, 1, 56, 56)
    assert torch.equal(model.predict(inputs)["labels"], model(inputs).sigmoid() >= model.thresholds)
