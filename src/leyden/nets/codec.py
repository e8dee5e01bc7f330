"""Convolutional encoder and decoder, and the pairs of them that autoencoders and GANs are.

After DCGAN (Radford, Metz and Chintala, 2016): 4x4 convolutions of stride 2 instead of pooling, batch norm but
not beside the pixels, leaky relu on the way down and relu on the way up. Ours differs in where the halvings end:
after as many as there are `channels`, at 7x7 for images of 28 pixels and at 8x8 for 32.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as normalise_spectrum

from leyden.nets.layers import Norm, check_sizes, norm_2d

SLOPE = 0.2  # of leaky relu below zero


class Encoder(nn.Module):
    """float (B, C, H, W) → (B, num_outputs).

    Args:
        in_shape: (C, H, W) of an image.
        num_outputs: size of what it gives.
        channels: of each convolution, which halves height and width.
        norm: none, batch or layer, after each convolution but the first.

    Raises:
        ValueError: the images are none, or cannot be halved so many times.
    """

    def __init__(
        self, in_shape: Sequence[int], num_outputs: int, channels: Sequence[int] = (32, 64), norm: Norm = "batch"
    ) -> None:
        super().__init__()
        deepest = deepest_shape(in_shape, channels)
        stages: list[nn.Module] = []
        for depth, (before, after) in enumerate(pairwise((in_shape[0], *channels))):
            norms = norm_2d(norm, after) if depth else []
            stages += [nn.Conv2d(before, after, 4, stride=2, padding=1), *norms, nn.LeakyReLU(SLOPE)]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(math.prod(deepest), num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(x)  # (B, channels[-1], h, w)
        outputs: Tensor = self.head(x.flatten(1))  # (B, num_outputs)
        return outputs


class Decoder(nn.Module):
    """(B, latent_size) → logits of pixels, (B, C, H, W), any number: the mirror image of `Encoder`.

    Args:
        out_shape: (C, H, W) of an image.
        latent_size: of what it takes.
        channels: as the encoder's, so the last is where it begins.
        norm: none, batch or layer, before each relu.

    Raises:
        ValueError: as `Encoder`.
    """

    def __init__(
        self, out_shape: Sequence[int], latent_size: int, channels: Sequence[int] = (32, 64), norm: Norm = "batch"
    ) -> None:
        super().__init__()
        self.deepest = deepest_shape(out_shape, channels)
        self.head = nn.Linear(latent_size, math.prod(self.deepest))
        widths = [*reversed(channels), out_shape[0]]
        stages: list[nn.Module] = []
        for before, after in pairwise(widths):
            stages += [*norm_2d(norm, before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
        self.stages = nn.Sequential(*stages)

    def forward(self, z: Tensor) -> Tensor:
        x = self.head(z).unflatten(1, self.deepest)  # (B, channels[-1], h, w)
        logits: Tensor = self.stages(x)  # (B, C, H, W)
        return logits


def deepest_shape(in_shape: Sequence[int], channels: Sequence[int]) -> tuple[int, int, int]:
    """(channels[-1], h, w): what is left of an image after all halvings.

    Raises:
        ValueError: there is no such shape, or nothing in `channels`.
    """
    check_sizes("channels", channels)
    if not channels:
        raise ValueError("channels: got [], there must be at least one convolution")
    if len(in_shape) != 3:
        raise ValueError(f"in_shape: got {list(in_shape)}, a codec takes images [channels, height, width]")
    factor = 2 ** len(channels)
    if any(side % factor for side in in_shape[1:]):
        raise ValueError(
            f"in_shape: got {list(in_shape)}, {len(channels)} convolutions that each halve an image take sides "
            f"that are multiples of {factor}; fewer model.channels take others"
        )
    return channels[-1], in_shape[1] // factor, in_shape[2] // factor


class Halves(nn.Module):
    """Two nets that are not always called together, so each is compiled by itself."""

    def compile(self, *args: Any, **kwargs: Any) -> None:
        for half in self.children():
            half.compile(*args, **kwargs)


class Autoencoder(Halves):
    """Pixels, (B, C, H, W), by way of a latent, (B, latent_size), → logits of pixels (Hinton and Salakhutdinov, 2006).

    Args:
        in_shape: (C, H, W) of an image.
        latent_size: of the narrow place in the middle.
        channels: of each of the encoder's convolutions.
        norm: none, batch or layer.

    Raises:
        ValueError: as `Encoder`, or `latent_size` is below 1.
    """

    codes_per_latent = 1

    def __init__(
        self,
        in_shape: Sequence[int],
        latent_size: int = 32,
        channels: Sequence[int] = (32, 64),
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        check_latent_size(latent_size)
        self.in_shape, self.latent_size = tuple(in_shape), latent_size
        self.encoder = Encoder(in_shape, self.codes_per_latent * latent_size, channels, norm)
        self.decoder = Decoder(in_shape, latent_size, channels, norm)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.encoder(x))
        return logits


class GaussianAutoencoder(Autoencoder):
    """An autoencoder whose encoder gives a normal distribution over latents. Args and errors: as `Autoencoder`."""

    codes_per_latent = 2

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (B, C, H, W) → mean and log-variance of the latent, (B, latent_size) each."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance

    def forward(self, x: Tensor) -> Tensor:
        """Of the mean."""
        logits: Tensor = self.decoder(self.encode(x)[0])
        return logits


class DCGAN(Halves):
    """A generator and a discriminator of images with pixels from 0 to 1; both have the paper's weights, N(0, 0.02).

    Args:
        in_shape: (C, H, W) of an image.
        latent_size: of what the generator makes an image of.
        channels: of each of the discriminator's convolutions; the generator has the same backwards.
        norm: of the discriminator; the generator has batch norm.
        spectral_norm: whether each weight matrix of the discriminator is divided by its largest singular
            value (Miyato et al., 2018); goes with norm=none.

    Raises:
        ValueError: as `Autoencoder`.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        latent_size: int = 64,
        channels: Sequence[int] = (32, 64),
        norm: Norm = "batch",
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        check_latent_size(latent_size)
        self.in_shape, self.latent_size = tuple(in_shape), latent_size
        self.generator = nn.Sequential(Decoder(in_shape, latent_size, channels), nn.Sigmoid())
        self.discriminator = Encoder(in_shape, 1, channels, norm)
        self.apply(initialise)
        if spectral_norm:
            for layer in list(self.discriminator.modules()):
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    normalise_spectrum(layer)

    def forward(self, z: Tensor) -> Tensor:
        """Latents (B, latent_size) → images (B, C, H, W), 0 to 1."""
        images: Tensor = self.generator(z)
        return images

    def discriminate(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W), 0 to 1 → logits (B,) of their being real."""
        logits: Tensor = self.discriminator(2 * images - 1)
        return logits.squeeze(1)


def initialise(layer: nn.Module) -> None:
    """DCGAN's weights."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)


def check_latent_size(latent_size: int) -> None:
    """Raises ValueError unless it is at least 1."""
    if latent_size < 1:
        raise ValueError(f"latent_size: got {latent_size}, must be at least 1")
