"""Likelihoods of the pixels of an image, given the output of a variational autoencoder's decoder."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

LEVELS = 256  # of a stored pixel


class Likelihood(nn.Module, ABC):
    """A distribution of each pixel, given the logit of its mean."""

    def targets(self, pixels: Tensor, rng: torch.Generator | None) -> Tensor:
        """Return the pixels that the net encodes and reconstructs, given images from 0 to 1. `rng`: see `draw`."""
        return pixels

    @abstractmethod
    def nll(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the negative log-likelihood of each image in nats: logits and targets (B, C, H, W) → (B,)."""


class Bernoulli(Likelihood):
    """Binary pixels: each pixel is set to 1 with a probability that equals its grey value.

    In training the pixels are drawn again each time ("dynamic binarisation", Salakhutdinov and Murray, 2008; Burda
    et al., 2016). In evaluation they are drawn from a fixed seed.
    """

    def targets(self, pixels: Tensor, rng: torch.Generator | None) -> Tensor:
        return (draw(torch.rand, pixels, rng) < pixels).to(pixels.dtype)

    def nll(self, logits: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(logits, targets, reduction="none").flatten(1).sum(1)


class DiscretisedLogistic(Likelihood):
    """Pixels with 256 levels: a logistic distribution that is divided into 256 bins (Kingma et al., 2016).

    The decoder gives the mean, between 0 and 1. The scale is learned, one for each channel. The first and the last bin
    (black and white) contain all values beyond them.

    Args:
        channels: C of an image.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((channels, 1, 1), -3.0))  # about a twentieth of the range

    def nll(self, logits: Tensor, targets: Tensor) -> Tensor:
        distance, half_bin = targets - logits.sigmoid(), 0.5 / (LEVELS - 1)
        upper = (distance + half_bin) / self.log_scale.exp()
        lower = (distance - half_bin) / self.log_scale.exp()
        # log(σ(u) - σ(l)) = log σ(u) + log σ(-l) + log(1 - exp(l - u)), without a difference of nearly equal numbers
        inside = logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper))
        black, white = targets < half_bin, targets > 1 - half_bin
        log_p = torch.where(black, logsigmoid(upper), torch.where(white, logsigmoid(-lower), inside))
        return -log_p.flatten(1).sum(1)


def draw(kind: Callable[..., Tensor], like: Tensor, rng: torch.Generator | None) -> Tensor:
    """Draw random numbers in the shape of `like`, on its device.

    Args:
        kind: `torch.rand` or `torch.randn`.
        rng: a generator on the CPU, for numbers that do not depend on the device; None for the generator of the device,
            which is faster.
    """
    return kind(like.shape, generator=rng, device="cpu" if rng else like.device).to(like.device)
