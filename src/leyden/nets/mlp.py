"""Multilayer perceptron (Rumelhart, Hinton and Williams, 1986): the image as one long vector."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from leyden.nets.layers import Activation, Init, Norm, dense, initialise


class MLP(nn.Module):
    """float (B, C, H, W) → logits (B, num_outputs).

    Args:
        in_shape: of one sample.
        num_outputs: number of logits.
        hidden: size of each hidden layer, any number of them.
        activation: after each hidden layer.
        dropout: probability of zeroing an activation of a hidden layer.
        norm: none, batch (Ioffe and Szegedy, 2015) or layer (Ba et al., 2016), before the activation.
        init: torch's default, kaiming or xavier.

    Raises:
        ValueError: a size or probability is out of its range.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        hidden: Sequence[int] = (256, 128),
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm: Norm = "none",
        init: Init = "default",
    ) -> None:
        super().__init__()
        self.layers = dense(math.prod(in_shape), hidden, num_outputs, activation, dropout, norm)
        initialise(self, init, activation)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x.flatten(1))  # (B, C * H * W) → (B, num_outputs)
        return logits
