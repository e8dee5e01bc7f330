"""Convolutional encoder and decoder, and the autoencoders and GANs that consist of them.

The layers are those of DCGAN (Radford, Metz and Chintala, 2016): 4x4 convolutions of stride 2 instead of pooling, batch
norm except next to the pixels, leaky relu in the encoder and relu in the decoder. The depth differs: there are as many
convolutions as `channels`. Two of them end at 7x7 for images of 28 pixels, and at 8x8 for 32.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as normalise_spectrum

from leyden.nets.layers import Norm, check_shape, check_sizes, norm_2d

SLOPE = 0.2  # of leaky relu for negative inputs


class Encoder(nn.Module):
    """Convolutional encoder: float (B, C, H, W) → (B, num_outputs).

    Args:
        in_shape: (C, H, W) of an image.
        num_outputs: number of outputs.
        channels: number of channels of each convolution; each one halves height and width.
        norm: none, batch, layer or group, after each convolution but the first.

    Raises:
        ValueError: samples are not images, or they cannot be halved that many times.
    """

    def __init__(self, in_shape: Sequence[int], num_outputs: int, channels: Sequence[int], norm: Norm) -> None:
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
    """Convolutional decoder: latents (B, latent_size) → logits of pixels, (B, C, H, W). It mirrors `Encoder`.

    Args:
        out_shape: (C, H, W) of an image.
        latent_size: size of a latent.
        channels: the same as those of the encoder; the decoder starts with the last one.
        norm: none, batch, layer or group, before each relu.

    Raises:
        ValueError: samples are not images, or they cannot be halved that many times.
    """

    def __init__(self, out_shape: Sequence[int], latent_size: int, channels: Sequence[int], norm: Norm) -> None:
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
    """Return the shape of an image after all convolutions, (channels[-1], h, w).

    Raises:
        ValueError: samples are not images, they cannot be halved that many times, or `channels` is empty.
    """
    check_sizes("channels", channels)
    if not channels:
        raise ValueError("channels: got [], must have at least one convolution")
    if len(in_shape) != 3:
        raise ValueError(f"in_shape: got {list(in_shape)}, an encoder needs images [channels, height, width]")
    check_shape(in_shape)
    factor = 2 ** len(channels)
    if any(side % factor for side in in_shape[1:]):
        raise ValueError(
            f"in_shape: got {list(in_shape)}, but {len(channels)} convolutions, each of which halves the image, need "
            f"sides that are multiples of {factor}; use fewer model.channels"
        )
    return channels[-1], in_shape[1] // factor, in_shape[2] // factor


class NetPair(nn.Module):
    """Two nets that are also called separately. Each is compiled separately."""

    def compile(self, *args: Any, **kwargs: Any) -> None:
        for net in self.children():
            net.compile(*args, **kwargs)


class Autoencoder(NetPair):
    """Encoder and decoder (Hinton and Salakhutdinov, 2006): pixels (B, C, H, W) → logits of pixels, same shape.

    Args:
        in_shape: (C, H, W) of an image.
        latent_size: size of the bottleneck.
        channels: number of channels of each convolution of the encoder.
        norm: none, batch, layer or group.

    Raises:
        ValueError: `latent_size` is below 1, samples are not images, or they cannot be halved that many times.
    """

    codes_per_latent = 1

    def __init__(self, in_shape: Sequence[int], latent_size: int, channels: Sequence[int], norm: Norm) -> None:
        super().__init__()
        check_latent_size(latent_size)
        self.in_shape, self.latent_size = tuple(in_shape), latent_size
        self.encoder = Encoder(in_shape, self.codes_per_latent * latent_size, channels, norm)
        self.decoder = Decoder(in_shape, latent_size, channels, norm)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.encoder(x))
        return logits


class GaussianAutoencoder(Autoencoder):
    """Autoencoder whose encoder returns a normal distribution over latents. Arguments and errors: see `Autoencoder`."""

    codes_per_latent = 2

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (B, C, H, W) → mean and log-variance of the latent, (B, latent_size) each."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance

    def forward(self, x: Tensor) -> Tensor:
        """Decode the mean latents: pixels (B, C, H, W) → logits of pixels, same shape."""
        logits: Tensor = self.decoder(self.encode(x)[0])
        return logits


class DCGAN(NetPair):
    """Generator and discriminator of images with pixels from 0 to 1, initialised as in the paper with N(0, 0.02).

    Args:
        in_shape: (C, H, W) of an image.
        latent_size: size of a latent, from which the generator makes an image.
        channels: number of channels of each convolution of the discriminator; the generator has the same in reverse.
        norm: norm of the discriminator; the generator always has batch norm.
        spectral_norm: whether each weight matrix of the discriminator is divided by its largest singular
            value (Miyato et al., 2018); usually combined with norm=none.

    Raises:
        ValueError: `latent_size` is below 1, samples are not images, or they cannot be halved that many times.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        latent_size: int,
        channels: Sequence[int],
        norm: Norm,
        spectral_norm: bool,
    ) -> None:
        super().__init__()
        check_latent_size(latent_size)
        self.in_shape, self.latent_size = tuple(in_shape), latent_size
        self.generator = nn.Sequential(Decoder(in_shape, latent_size, channels, "batch"), nn.Sigmoid())
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
        """Images (B, C, H, W), 0 to 1 → logits (B,) for being real."""
        logits: Tensor = self.discriminator(2 * images - 1)
        return logits.squeeze(1)


def initialise(layer: nn.Module) -> None:
    """Initialise a layer as in DCGAN."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)


def check_latent_size(latent_size: int) -> None:
    """Raise ValueError unless `latent_size` is at least 1."""
    if latent_size < 1:
        raise ValueError(f"latent_size: got {latent_size}, must be at least 1")
