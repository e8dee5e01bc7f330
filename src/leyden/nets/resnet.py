"""Residual net (He et al., 2016) for small images: each block adds to its input, so gradients reach deep layers.

The stem is one 3x3 convolution, and there is no max-pool before the blocks. This is the usual form for images of 32x32,
which the paper's ResNet-18 for ImageNet would reduce to 1x1. `depths` [2, 2, 2, 2] with four widths is ResNet-18.

Differences: the paper's nets for CIFAR-10 have no 1x1 convolutions where shapes change (here: its option B). A wide
residual net (Zagoruyko and Komodakis, 2016) has its activations before the convolutions, not after the sum, and a
narrower stem.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leyden.nets.layers import Norm, check_shape, check_sizes, norm_2d


class ResNet(nn.Module):
    """Residual net: float (B, C, H, W) → outputs (B, num_outputs).

    Args:
        in_shape: (C, H, W) of an image.
        num_outputs: number of outputs.
        widths: number of channels of each stage; each stage but the first halves the sides of the image.
        depths: number of blocks of each stage; a block has two convolutions.
        dropout: probability of zeroing a feature before the last layer.
        norm: none, batch, layer or group, after each convolution.

    Raises:
        ValueError: samples are not images, or a size or a probability is out of its range.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        widths: Sequence[int],
        depths: Sequence[int],
        dropout: float,
        norm: Norm,
    ) -> None:
        super().__init__()
        check_shape(in_shape, num_outputs)
        if len(in_shape) != 3:
            raise ValueError(f"in_shape: got {list(in_shape)}, a resnet needs images [channels, height, width]")
        if not widths or len(widths) != len(depths):
            raise ValueError(f"depths: got {list(depths)}, must have one entry for each of the widths {list(widths)}")
        check_sizes("widths", widths)
        check_sizes("depths", depths)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: got {dropout}, must be at least 0 and below 1")
        channels = widths[0]
        self.stem = nn.Sequential(*conv_norm(in_shape[0], channels, 3, norm), nn.ReLU(inplace=True))
        blocks: list[nn.Module] = []
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for number in range(depth):
                blocks.append(Block(channels, width, norm, stride=2 if stage > 0 and number == 0 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # Channels-last memory format suits the kernels for tensor cores and AVX-512: 1.3 times as many images per
        # second on a CPU. The images themselves may have any memory format.
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (B, widths[0], H, W)
        x = self.blocks(x)  # (B, widths[-1], h, w), sides halved (rounded up) once per stage after the first
        outputs: Tensor = self.head(self.dropout(x.mean((2, 3))))  # (B, num_outputs)
        return outputs


class Block(nn.Module):
    """(B, in_channels, H, W) → (B, channels, H / stride, W / stride), rounded up: two convolutions and a shortcut."""

    def __init__(self, in_channels: int, channels: int, norm: Norm, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *conv_norm(in_channels, channels, 3, norm, stride),
            nn.ReLU(inplace=True),
            *conv_norm(channels, channels, 3, norm),
        )
        same = in_channels == channels and stride == 1
        # Subsampling followed by a 1x1 convolution equals a strided 1x1 convolution, whose gradient in channels-last
        # format is wrong or crashes in oneDNN for fewer than 16 channels.
        pixels = nn.AvgPool2d(1, stride)
        self.shortcut = nn.Identity() if same else nn.Sequential(pixels, *conv_norm(in_channels, channels, 1, norm))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.layers(x) + self.shortcut(x))
        return out


def conv_norm(in_channels: int, channels: int, kernel: int, norm: Norm, stride: int = 1) -> list[nn.Module]:
    """Return a padded convolution, which divides the sides by `stride`, and its norm, which adds the bias."""
    bias = norm == "none"
    convolution = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, bias=bias)
    return [convolution, *norm_2d(norm, channels)]
