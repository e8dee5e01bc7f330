"""What the nets of flow matching and diffusion share: their inputs, and the embedding of time and classes.

Such a net looks at a noisy image, and is told how noisy it is (the time) and what it shows (the classes).

    B  batch      C, H, W  channels, height and width of an image      K  classes      D  width of the embedding
"""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leyden.nets.layers import check_shape

NUM_FREQUENCIES = 32
HIGHEST_FREQUENCY = 1000.0  # as with the 1000 steps of DDPM: the difference of two neighbouring steps is visible


class ConditionalNet(nn.Module):
    """A net that gives an output for each pixel of a noisy image.

    Args:
        in_shape: (C, H, W) of an image.
        num_classes: K, at least 0.

    Raises:
        ValueError: samples are not images, or a size is out of its range.
    """

    def __init__(self, in_shape: Sequence[int], num_classes: int) -> None:
        super().__init__()
        if len(in_shape) != 3:
            name = type(self).__name__.lower()
            raise ValueError(f"in_shape: got {list(in_shape)}, a {name} needs images [channels, height, width]")
        check_shape(in_shape)
        if num_classes < 0:
            raise ValueError(f"num_classes: got {num_classes}, must be at least 0")
        self.in_shape, self.num_classes = tuple(in_shape), num_classes

    @abstractmethod
    def forward(self, x: Tensor, times: Tensor, classes: Tensor) -> Tensor:
        """Return an output for each pixel, (B, C, H, W).

        Args:
            x: noisy images, (B, C, H, W).
            times: (B,), from 0 (noise) to 1 (image).
            classes: the classes that each image shows, (B, K), 0 or 1. All 0: they are not given.
        """


class Condition(nn.Module):
    """Embeds times (B,) and classes (B, K) in one vector, (B, D).

    Args:
        num_classes: K.
        dim: D.
    """

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__()
        frequencies = torch.logspace(0, math.log10(HIGHEST_FREQUENCY), NUM_FREQUENCIES)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * NUM_FREQUENCIES, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.classes = nn.Linear(num_classes, dim, bias=False) if num_classes else None
        if self.classes is not None:
            nn.init.normal_(self.classes.weight)  # as `nn.Embedding`: larger than the default, so it is noticed early

    def forward(self, times: Tensor, classes: Tensor) -> Tensor:
        angles = times[:, None] * self.get_buffer("frequencies")  # (B, 32)
        embedded: Tensor = self.layers(torch.cat((angles.sin(), angles.cos()), 1).to(classes.dtype))  # (B, D)
        return embedded if self.classes is None else embedded + self.classes(classes)
