"""Paths from noise to an image: at time t a point is α(t) · image + σ(t) · noise, with t from 0 (noise) to 1 (image).

A net learns to predict a quantity (the target) from a point. Image and noise can be estimated from it, and from these
the velocity dx/dt of the points: α'(t) · image + σ'(t) · noise, averaged over all images and noises whose paths go
through the point. Points that follow this velocity turn noise into images (Lipman et al., 2023).

    B  batch      C, H, W  channels, height and width of an image
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Path(ABC):
    """A path from noise to an image."""

    first = 0.0  # time at which sampling begins

    @abstractmethod
    def weights(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return α and σ at each of the times."""

    @abstractmethod
    def rates(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivatives of α and σ with respect to the time."""

    @abstractmethod
    def target(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return what the net predicts, (B, C, H, W): images from -1 to 1 and standard normal noise of this shape."""

    @abstractmethod
    def estimates(self, outputs: Tensor, points: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return image and noise, given what the net predicts for points at times (B, 1, 1, 1), (B, C, H, W) each."""

    def points(self, images: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return the point of each path at its time: (B, C, H, W), where `times` is (B, 1, 1, 1)."""
        alpha, sigma = self.weights(times)
        return alpha * images + sigma * noise

    def velocity(self, outputs: Tensor, points: Tensor, times: Tensor) -> Tensor:
        """Return dx/dt, (B, C, H, W); the arguments are those of `estimates`."""
        images, noise = self.estimates(outputs, points, times)
        alpha_rate, sigma_rate = self.rates(times)
        return alpha_rate * images + sigma_rate * noise


class Straight(Path):
    """The straight path with constant velocity of rectified flow (Liu et al., 2023); the net predicts the velocity.

    It is the optimal transport path of Lipman et al. (2023) with a smallest standard deviation of 0.
    """

    def weights(self, times: Tensor) -> tuple[Tensor, Tensor]:
        return times, 1 - times

    def rates(self, times: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(times), -torch.ones_like(times)

    def target(self, images: Tensor, noise: Tensor) -> Tensor:
        return images - noise

    def estimates(self, outputs: Tensor, points: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        return points + (1 - times) * outputs, points - times * outputs


class Cosine(Path):
    """The path of diffusion with the cosine schedule (Nichol and Dhariwal, 2021); the net predicts the noise.

    α = sin(πt/2) and σ = cos(πt/2), so α² + σ² = 1. Differences to the paper: time is continuous instead of 1000 steps,
    and the offset, which keeps σ above 0 at the image, is left out.
    """

    first = 0.01  # at 0 nothing is known about the image, and it would be divided by α = 0

    def weights(self, times: Tensor) -> tuple[Tensor, Tensor]:
        angles = times * (math.pi / 2)
        return angles.sin(), angles.cos()

    def rates(self, times: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.weights(times)
        return math.pi / 2 * sigma, -math.pi / 2 * alpha

    def target(self, images: Tensor, noise: Tensor) -> Tensor:
        return noise

    def estimates(self, outputs: Tensor, points: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """See `Path`. The image is limited to its range: near the noise, small errors of the net become large ones."""
        alpha, sigma = self.weights(times)
        return ((points - sigma * outputs) / alpha).clamp(-1, 1), outputs
