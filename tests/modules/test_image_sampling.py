"""Samplers, and filling a part of an image."""

import pytest
import torch
from torch import Tensor

from leyden.modules.image_sampling import ImageSampling, Sampler, follow, inpaint
from leyden.modules.paths import Cosine, Path, Straight

NOISE = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
IMAGE = torch.linspace(-0.9, 0.9, 16, dtype=torch.float64).view(1, 1, 4, 4)


class Known:
    """Predicts exactly: all paths lead to one image."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, points: Tensor, times: Tensor) -> Tensor:
        alpha, sigma = self.path.weights(times[:, None, None, None])
        if isinstance(self.path, Straight):
            return (IMAGE - points) / sigma.clamp(min=1e-9)
        return (points - alpha * IMAGE) / sigma.clamp(min=1e-9)


@pytest.mark.parametrize("sampler", ["euler", "ddim"])  # the others ask for the prediction at the end, which is 0 / 0
@pytest.mark.parametrize("path", [Straight(), Cosine()])
def test_noise_becomes_the_only_image(path: Path, sampler: Sampler) -> None:
    found = follow(Known(path), path, NOISE, ImageSampling(sampler, 200, 1.0, 1e-4))
    assert (found - IMAGE).abs().max() < 0.05


def test_ddim_takes_straight_steps_as_euler() -> None:
    samplings = [ImageSampling("ddim", 5, 1.0, 1e-3), ImageSampling("euler", 5, 1.0, 1e-3)]
    one, other = (follow(lambda x, t: x.sin(), Straight(), NOISE, sampling) for sampling in samplings)
    assert torch.allclose(one, other)


@pytest.mark.parametrize("path", [Straight(), Cosine()])
def test_adaptive_and_many_fixed_steps_agree(path: Path) -> None:
    one, other = (
        follow(lambda x, t: x.sin() * t[:, None, None, None], path, NOISE, sampling)
        for sampling in (ImageSampling("dopri5", 1, 1.0, 1e-7), ImageSampling("heun", 400, 1.0, 1e-3))
    )
    assert torch.allclose(one, other, atol=1e-3)


def test_known_pixels_are_kept_and_the_others_are_filled() -> None:
    known = torch.zeros(4, 4, dtype=torch.bool)
    known[:2] = True
    given = torch.full((1, 1, 4, 4), 0.7, dtype=torch.float64)
    filled = inpaint(Known(Straight()), Straight(), NOISE, given, known, 50)
    assert torch.allclose(filled[:, :, :2], given[:, :, :2].expand(3, -1, -1, -1))
    assert torch.allclose(filled[:, :, 2:], IMAGE[:, :, 2:].expand(3, -1, -1, -1), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sampler", "rk4", "sampler: got rk4, must be euler, heun, ddim or dopri5"),
        ("num_steps", 0, "num_steps: got 0, must be at least 1"),
        ("guidance", -1.0, "guidance: got -1.0, must be at least 0"),
        ("tolerance", 0.0, "tolerance: got 0.0, must be above 0"),
    ],
)
def test_a_wrong_value(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageSampling("heun", 1, 1.0, 1e-3).changed(**{name: value})
