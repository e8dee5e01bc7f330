"""The small convolutional net of the classic PyTorch tutorial, after LeNet-5 (LeCun et al., 1998).

Each stage is a 5x5 convolution without padding, an activation and a 2x2 max-pool. Dense layers follow. This net
computes its sizes from the shape of the images, and has options that the tutorial's net does not have.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from leyden.nets.layers import ACTIVATIONS, Activation, Init, Norm, check_shape, check_sizes, dense, initialise, norm_2d

KERNEL = 5


class CNN(nn.Module):
    """Convolutional net: float (B, C, H, W) → outputs (B, num_outputs).

    Args:
        in_shape: (C, H, W) of an image.
        num_outputs: number of outputs.
        channels: number of channels of each convolution.
        hidden: size of each dense layer before the outputs.
        activation: name of the activation after each convolution and dense layer.
        dropout: probability of zeroing an activation of a dense layer.
        norm: none, batch, layer or group, before each activation.
        init: torch's default, kaiming or xavier.

    Raises:
        ValueError: samples are not images, an image is too small for that many convolutions, or a size or a
            probability is out of its range.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        channels: Sequence[int],
        hidden: Sequence[int],
        activation: Activation,
        dropout: float,
        norm: Norm,
        init: Init,
    ) -> None:
        super().__init__()
        check_shape(in_shape, num_outputs)
        if len(in_shape) != 3:
            raise ValueError(f"in_shape: got {list(in_shape)}, a cnn needs images [channels, height, width]")
        check_sizes("channels", channels)
        in_channels, *size = in_shape
        stages: list[nn.Module] = []
        for depth, out_channels in enumerate(channels):
            size = [(side - KERNEL + 1) // 2 for side in size]
            if min(size) < 1:
                raise ValueError(
                    f"channels: got {list(channels)}, but images of shape {list(in_shape)} are large enough for "
                    f"{depth} convolutions only"
                )
            convolution = nn.Conv2d(in_channels, out_channels, KERNEL)
            stages += [convolution, *norm_2d(norm, out_channels), ACTIVATIONS[activation](), nn.MaxPool2d(2)]
            in_channels = out_channels
        self.stages = nn.Sequential(*stages)
        self.head = dense(in_channels * math.prod(size), hidden, num_outputs, activation, dropout, norm)
        initialise(self, init, activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(x)  # (B, channels[-1], h, w)
        outputs: Tensor = self.head(x.flatten(1))  # (B, num_outputs)
        return outputs
