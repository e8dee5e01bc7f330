"""Test-time augmentation: the mean over the views by hand, and what a run reports."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leyden.modules.test_time import mean_outputs
from leyden.records.json_files import read_report
from leyden.tools.evaluate import evaluate


def corner(images: torch.Tensor) -> torch.Tensor:
    """A net whose output is the upper left pixel."""
    return images[:, 0, :1, 0]


def test_the_mean_of_an_image_and_its_mirror_image() -> None:
    images = torch.tensor([[[[1.0, 5.0], [2.0, 7.0]]]])
    assert mean_outputs(corner, images, corner(images), "mirror").tolist() == [[3.0]]


def test_the_mean_with_shifts() -> None:
    images = torch.arange(9.0).view(1, 1, 3, 3)
    # Upper left corner of the image and its mirror image: 0 and 2. Reflection makes the rows and columns 1 0 1 2 1.
    # The upper left corners of both moved images and of their mirror images are all in row 1 and column 1: 4.
    expected = (0 + 2) / 4 + (4 + 4 + 4 + 4) / 8
    assert mean_outputs(corner, images, corner(images), "mirror_shift").tolist() == [[expected]]


@pytest.mark.parametrize("kind", ["mirror", "mirror_shift"])
def test_a_run_reports_it_beside_the_accuracy(finished: Callable[..., Path], kind: str) -> None:
    folder = finished(f"task.tta={kind}", "model=mlp", "trainer.max_epochs=1", "objective.metric=val/acc_tta")
    report = read_report(folder)
    assert report
    assert {"val/acc", "val/acc_tta", "test/acc", "test/acc_tta"} <= set(report["metrics"])
    assert report["objective"]["best"] == report["metrics"]["val/acc_tta"]
    assert evaluate(folder, "test")["test/acc_tta"] == report["metrics"]["test/acc_tta"]
