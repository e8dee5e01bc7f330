"""How likely a decoder makes an image: what a variational autoencoder's reconstruction is judged by."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

LEVELS = 256  # that a stored pixel can have


class Likelihood(nn.Module, ABC):
    """A distribution of each pixel, given a logit of its mean."""

    def targets(self, pixels: Tensor, rng: torch.Generator | None) -> Tensor:
        """What is to be encoded and reconstructed of an image, 0 to 1; `rng` as in `draw`."""
        return pixels

    @abstractmethod
    def nll(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Minus the log-likelihood of each image in nats: two times (B, C, H, W) → (B,)."""


class Bernoulli(Likelihood):
    """Pixels are 0 or 1: each is set to 1 with the probability that its grey value is.

    Drawn anew each time an image is trained on ("dynamic binarisation", Salakhutdinov and Murray, 2008; Burda
    et al., 2016), from a fixed seed where it is evaluated.
    """

    def targets(self, pixels: Tensor, rng: torch.Generator | None) -> Tensor:
        return (draw(torch.rand, pixels, rng) < pixels).float()

    def nll(self, logits: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(logits, targets, reduction="none").flatten(1).sum(1)


class DiscretisedLogistic(Likelihood):
    """Pixels have one of 256 levels: a logistic distribution, cut into as many bins (Kingma et al., 2016).

    Its mean is the decoder's, between 0 and 1, its scale is one for each channel, learned. What lies beyond black
    and white counts as those.

    Args:
        channels: of an image.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((channels, 1, 1), -3.0))  # about a twentieth of the range

    def nll(self, logits: Tensor, targets: Tensor) -> Tensor:
        distance, half_bin = targets - logits.sigmoid(), 0.5 / (LEVELS - 1)
        upper = (distance + half_bin) / self.log_scale.exp()
        lower = (distance - half_bin) / self.log_scale.exp()
        # log(σ(u) - σ(l)) without a difference of nearly equal numbers: the bin's share of what σ(u) σ(-l) spans
        inside = logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper))
        black, white = targets < half_bin, targets > 1 - half_bin
        log_p = torch.where(black, logsigmoid(upper), torch.where(white, logsigmoid(-lower), inside))
        return -log_p.flatten(1).sum(1)


def draw(kind: Callable[..., Tensor], like: Tensor, rng: torch.Generator | None) -> Tensor:
    """Random numbers in the shape of `like`, on its device.

    Args:
        kind: `torch.rand` or `torch.randn`.
        rng: on the CPU, for numbers that do not depend on the device; None for the device's own, which are quicker.
    """
    return kind(like.shape, generator=rng, device="cpu" if rng else like.device).to(like.device)
