"""The net of airbench94 (Jordan, 2024, arXiv 2404.00498), which was made to reach 94% on CIFAR-10 in the shortest time.

The first convolution whitens patches of the image: its kernels are the scaled eigenvectors of their covariance, and the
same with the opposite sign. They are computed from the training images and not trained. Groups of convolutions follow,
whose kernels begin as the identity for as many channels as they receive, so that the untrained net passes its input on.

Differences: sizes follow from the shape of the images, the number of groups and convolutions can be chosen, images from
all of the training set give the covariance instead of the first ones, and the biases of the first layer follow the
schedule of all others until they are frozen.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, unfold

from leyden.nets.layers import check_shape, check_sizes

SMALLEST_EIGENVALUE = 5e-4  # added to each, so that noise is not amplified
PART = 500  # images whose patches are computed at once


class Airbench(nn.Module):
    """Net of airbench: float (B, C, H, W) → outputs (B, num_outputs).

    Args:
        in_shape: (C, H, W) of an image.
        num_outputs: number of outputs.
        widths: number of channels of each group; each group halves the sides of the image.
        depth: number of convolutions per group, at least 1. From 3 on, the last one is added to what the first gives.
        kernel: side of the whitened patches in pixels, at least 1.
        head_scale: the outputs are multiplied by this and divided by the last width, above 0.
        bias_epochs: the biases of the whitened patches are trained for so many epochs, at least 1.

    Raises:
        ValueError: samples are not images, an image is too small for that many groups, or a number is out of its
            range.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        widths: Sequence[int],
        depth: int,
        kernel: int,
        head_scale: float,
        bias_epochs: int,
    ) -> None:
        super().__init__()
        check_shape(in_shape, num_outputs)
        if len(in_shape) != 3:
            raise ValueError(f"in_shape: got {list(in_shape)}, airbench needs images [channels, height, width]")
        check_sizes("widths", widths)
        for name, value in {"depth": depth, "kernel": kernel, "bias_epochs": bias_epochs}.items():
            if value < 1:
                raise ValueError(f"{name}: got {value}, must be at least 1")
        if not head_scale > 0:
            raise ValueError(f"head_scale: got {head_scale}, must be above 0")
        channels, side = in_shape[0], min(in_shape[1:]) - kernel + 1
        if not widths or side >> len(widths) < 1:
            raise ValueError(f"widths: got {list(widths)}, must be 1 to {most_groups(side)} for images of {in_shape}")
        self.bias_epochs, self.head_scale = bias_epochs, head_scale / widths[-1]
        self.whitening = nn.Conv2d(channels, 2 * channels * kernel**2, kernel)
        self.whitening.weight.requires_grad = False
        self.activation = nn.GELU()
        sizes = [self.whitening.out_channels, *widths]
        self.groups = nn.Sequential(*(Group(*pair, depth) for pair in zip(sizes[:-1], widths, strict=True)))
        self.head = nn.Linear(widths[-1], num_outputs, bias=False)
        with torch.no_grad():
            self.head.weight.div_(self.head.weight.std() if self.head.weight.numel() > 1 else 1.0)
        self.to(memory_format=torch.channels_last)  # see nets/resnet.py

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.whitening(x))  # (B, 2 C kernel², H', W')
        x = self.groups(x)  # (B, widths[-1], h, w)
        x = max_pool2d(x, x.shape[2:]).flatten(1)  # (B, widths[-1])
        outputs: Tensor = self.head(x) * self.head_scale  # (B, num_outputs)
        return outputs

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Compute the first convolution from normalised images, (N, C, H, W), unless its weights were loaded."""
        kernels, opposite = self.whitening.weight.chunk(2)
        if not torch.equal(kernels, -opposite):
            kernels = whitening_kernels(images, self.whitening.kernel_size[0])
            self.whitening.weight.copy_(torch.cat((kernels, -kernels)))

    def temporary_weights(self) -> list[nn.Parameter]:
        """Return the weights that `leyden.training.transfer.Freeze` trains for `bias_epochs` only."""
        return [weight for name, weight in self.whitening.named_parameters() if name == "bias"]


class Group(nn.Module):
    """(B, in_channels, H, W) → (B, channels, H / 2, W / 2), rounded down."""

    def __init__(self, in_channels: int, channels: int, depth: int) -> None:
        super().__init__()
        self.first = identity_convolution(in_channels, channels)
        self.pool = nn.MaxPool2d(2)
        self.rest = nn.ModuleList(identity_convolution(channels, channels) for _ in range(depth - 1))
        self.norms = nn.ModuleList(Norm(channels) for _ in range(depth))
        self.activation = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        first, *norms = self.norms
        start = x = self.activation(first(self.pool(self.first(x))))
        for number, (convolution, norm) in enumerate(zip(self.rest, norms, strict=True), start=2):
            x = norm(convolution(x))
            is_last_of_many = number == len(self.norms) and number >= 3
            x = self.activation(x + start if is_last_of_many else x)
        return x


class Norm(nn.BatchNorm2d):
    """Batch norm with a trained bias and without a trained scale. Its statistics follow the last few batches."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-12, momentum=0.4)
        self.weight.requires_grad = False


def identity_convolution(in_channels: int, channels: int) -> nn.Conv2d:
    """Return a padded 3x3 convolution without bias, whose first `in_channels` outputs are its inputs."""
    convolution = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    nn.init.dirac_(convolution.weight.data[:in_channels])
    return convolution


def whitening_kernels(images: Tensor, side: int) -> Tensor:
    """Return kernels (C side², C, side, side) whose outputs are uncorrelated and have a mean square of about one.

    Args:
        images: (N, C, H, W)
        side: of the kernels.
    """
    size = images.shape[1] * side**2
    products, count = torch.zeros(size, size, dtype=torch.float64), 0
    for part in torch.split(images, PART):
        patches = unfold(part.float(), side).transpose(1, 2).reshape(-1, size)  # (N h w, C side²)
        products += (patches.T @ patches).double().cpu()
        count += len(patches)
    values, vectors = torch.linalg.eigh(products / count)
    kernels: Tensor = vectors.T / (values[:, None] + SMALLEST_EIGENVALUE).sqrt()
    return kernels.view(-1, images.shape[1], side, side).to(images)


def most_groups(side: int) -> int:
    """Return how often `side` can be halved."""
    return max(side.bit_length() - 1, 0) if side > 0 else 0
