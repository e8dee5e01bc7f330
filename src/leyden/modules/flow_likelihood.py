"""The likelihood of images under a flow, from the ordinary differential equation of its samples (Chen et al., 2018).

The logarithm of the density of a point that follows a velocity changes by minus the divergence of the velocity. So the
density of an image follows from that of the noise to which the equation leads back (Song et al., 2021).

    B  batch      C, H, W  channels, height and width of an image      N  C · H · W
"""

import math

import torch
from torch import Tensor

from leyden.modules import solvers
from leyden.modules.flow import Flow

EXACT_UP_TO = 64  # values of an image: the exact divergence needs one gradient for each of them
LEVELS = 256  # of a pixel
TOLERANCE = 1e-4  # of the solver: an error of about 0.005 bits per dimension


def bits_per_dimension(module: Flow, pixels: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Return bits per dimension of images, (B,): how many bits per value a perfect code for them needs.

    Uniform noise is added to the values, whose density is then a lower bound of their probability (Theis et al., 2016).
    The guidance is not used.

    Args:
        module: the flow.
        pixels: uint8 (B, C, H, W).
        classes: the class of each image, (B, K), 0 or 1.
        generator: a generator on the CPU.
    """
    noise = torch.rand(pixels.shape, generator=generator).to(module.device)
    points = (pixels.to(module.device) + noise) * (2 / LEVELS) - 1
    nats = log_density(module, points, classes, generator)
    return -nats / (math.log(2) * points[0].numel()) + math.log2(LEVELS / 2)  # a pixel is 2 / 256 wide


def log_density(module: Flow, points: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Return the logarithm of the density of points, (B,), in nats.

    The divergence is exact for at most `EXACT_UP_TO` values, and otherwise estimated with one random vector of signs
    for each image (Hutchinson; see Grathwohl et al., 2019). The estimate has no bias.

    Args:
        module: the flow.
        points: float (B, C, H, W), images from -1 to 1.
        classes: (B, K), 0 or 1.
        generator: a generator on the CPU.
    """
    predict, path, size = module.guided(classes, guidance=1.0), module.path, points[0].numel()
    signs = (2 * torch.randint(0, 2, points.shape, generator=generator) - 1).to(points)

    def change(state: Tensor, time: float) -> Tensor:
        """State (B, N + 1): a point and the change of its logarithm → their rates."""
        with torch.enable_grad():
            x = state[:, :-1].view_as(points).detach().requires_grad_()
            times = x.new_full(x.shape[:1], time)
            velocity = path.velocity(predict(x, times), x, times[:, None, None, None])
            spread = exact_divergence(velocity, x) if size <= EXACT_UP_TO else divergence(velocity, x, signs)
        return torch.cat((velocity.detach().flatten(1), spread[:, None]), 1)

    start = torch.cat((points.flatten(1), points.new_zeros(len(points), 1)), 1)
    end = solvers.dopri5(change, start, 1.0, path.first, TOLERANCE)
    noise, total = end[:, :-1], end[:, -1]
    return total - 0.5 * noise.square().sum(1) - 0.5 * size * math.log(2 * math.pi)


def divergence(velocity: Tensor, x: Tensor, signs: Tensor) -> Tensor:
    """Return the estimate εᵀ (∂velocity/∂x) ε, (B,), where ε are the signs; all tensors are (B, ...)."""
    (gradient,) = torch.autograd.grad(velocity, x, signs)
    return (gradient * signs).flatten(1).sum(1)


def exact_divergence(velocity: Tensor, x: Tensor) -> Tensor:
    """Return the sum of ∂velocity/∂x over all values, (B,): (B, ...) → one gradient for each of them."""
    total = x.new_zeros(len(x))
    for index, value in enumerate(velocity.flatten(1).unbind(1)):
        (gradient,) = torch.autograd.grad(value.sum(), x, retain_graph=True)
        total = total + gradient.flatten(1)[:, index]
    return total
