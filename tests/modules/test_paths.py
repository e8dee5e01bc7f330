"""Paths from noise to images, against values worked out by hand."""

import math

import pytest
import torch

from leyden.modules.paths import Cosine, Path, Straight

PATHS = [Straight(), Cosine()]
IMAGES, NOISE = torch.tensor([0.5, -1.0]).view(2, 1, 1, 1).double(), torch.tensor([2.0, 0.3]).view(2, 1, 1, 1).double()


def times(value: float) -> torch.Tensor:
    return torch.full((2, 1, 1, 1), value, dtype=torch.float64)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_begins_at_the_noise_and_ends_at_the_image(path: Path) -> None:
    assert torch.allclose(path.points(IMAGES, NOISE, times(0)), NOISE)
    assert torch.allclose(path.points(IMAGES, NOISE, times(1)), IMAGES)


def test_the_middle_of_each_path() -> None:
    assert torch.allclose(Straight().points(IMAGES, NOISE, times(0.5)), (IMAGES + NOISE) / 2)
    assert torch.allclose(Cosine().points(IMAGES, NOISE, times(0.5)), (IMAGES + NOISE) / math.sqrt(2))


@pytest.mark.parametrize("path", PATHS)
def test_the_target_gives_image_noise_and_velocity(path: Path) -> None:
    points = path.points(IMAGES, NOISE, times(0.3))
    target = path.target(IMAGES, NOISE)
    images, noise = path.estimates(target, points, times(0.3))
    assert torch.allclose(images, IMAGES)
    assert torch.allclose(noise, NOISE)
    step = 1e-6
    before, after = (path.points(IMAGES, NOISE, times(moment)) for moment in (0.3 - step, 0.3 + step))
    change = (after - before) / (2 * step)
    assert torch.allclose(path.velocity(target, points, times(0.3)), change, atol=1e-6)


def test_an_estimated_image_stays_in_its_range() -> None:
    images, _ = Cosine().estimates(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 0.01))
    assert images.item() == 1
