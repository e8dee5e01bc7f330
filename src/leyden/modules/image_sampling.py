"""How images are drawn from noise: the sampler, its number of steps, and the guidance by the class."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from leyden.modules import solvers
from leyden.modules.paths import Path

Sampler = Literal["euler", "heun", "ddim", "dopri5"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)

Predict = Callable[[Tensor, Tensor], Tensor]  # points (B, C, H, W) and times (B,) → what the net predicts for them


@dataclass(frozen=True)
class ImageSampling:
    """How images are drawn.

    Args:
        sampler: euler, heun (twice as many evaluations of the net as steps) or dopri5 (adaptive), see
            `leyden.modules.solvers`; ddim (Song et al., 2021): each step goes to the estimated image and noise. On a
            straight path ddim is the same as euler.
        num_steps: steps from noise to image, at least 1; not used by dopri5.
        guidance: g of classifier-free guidance (Ho and Salimans, 2022): without class + g · (with class - without).
            1: the prediction for the class; above 1: more typical images of the class; 0: without class.
        tolerance: largest error of a step of dopri5, above 0.

    Raises:
        ValueError: a value is out of its range.
    """

    sampler: Sampler
    num_steps: int
    guidance: float
    tolerance: float

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler: got {self.sampler}, must be {', '.join(SAMPLERS[:-1])} or {SAMPLERS[-1]}")
        if self.num_steps < 1:
            raise ValueError(f"num_steps: got {self.num_steps}, must be at least 1")
        if not 0 <= self.guidance < math.inf:
            raise ValueError(f"guidance: got {self.guidance}, must be at least 0")
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"tolerance: got {self.tolerance}, must be above 0")

    def changed(self, **values: Any) -> "ImageSampling":
        """Return a copy with other values; None: as it is.

        Raises:
            ValueError: a value is out of its range.
        """
        return replace(self, **{name: value for name, value in values.items() if value is not None})


def follow(predict: Predict, path: Path, noise: Tensor, sampling: ImageSampling) -> Tensor:
    """Return images, about -1 to 1, (B, C, H, W): noise of this shape that follows the path.

    Args:
        predict: what the net predicts, see `Path.target`.
        path: from noise to images.
        noise: standard normal.
        sampling: how.
    """

    def velocity(points: Tensor, time: float) -> Tensor:
        times = points.new_full(points.shape[:1], time)
        return path.velocity(predict(points, times), points, times[:, None, None, None])

    if sampling.sampler == "dopri5":
        return solvers.dopri5(velocity, noise, path.first, 1.0, sampling.tolerance)
    times = time_grid(path, sampling.num_steps)
    if sampling.sampler == "ddim":
        return ddim(predict, path, noise, times)
    return (solvers.euler if sampling.sampler == "euler" else solvers.heun)(velocity, noise, times)


def ddim(predict: Predict, path: Path, x: Tensor, times: list[float]) -> Tensor:
    """Return x at the last of the times. Each step mixes the estimated image and noise as at the next time."""
    for time, later in pairwise(times):
        now, then = (x.new_full((x.shape[0], 1, 1, 1), moment) for moment in (time, later))
        images, noise = path.estimates(predict(x, now.flatten()), x, now)
        x = path.points(images, noise, then)
    return x


def inpaint(predict: Predict, path: Path, noise: Tensor, images: Tensor, known: Tensor, num_steps: int) -> Tensor:
    """Return images, (B, C, H, W), of which a part is given.

    After each step of ddim, the known pixels are those of the given image with its noise (as in Song et al., 2021).

    Args:
        predict, path, noise: see `follow`.
        images: -1 to 1; only the known pixels are used.
        known: bool, can be broadcast to the images.
        num_steps: steps from noise to image.
    """
    x = noise
    for time, later in pairwise(time_grid(path, num_steps)):
        then = x.new_full((x.shape[0], 1, 1, 1), later)
        x = torch.where(known, path.points(images, noise, then), ddim(predict, path, x, [time, later]))
    return x


def time_grid(path: Path, num_steps: int) -> list[float]:
    """Return times in even steps from the first time of a path to 1."""
    return [path.first + (1 - path.first) * step / num_steps for step in range(num_steps + 1)]
