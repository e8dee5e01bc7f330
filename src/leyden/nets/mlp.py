"""Multilayer perceptron (Rumelhart, Hinton and Williams, 1986): dense layers on the flattened sample."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from leyden.nets.layers import Activation, Init, Norm, check_shape, dense, initialise


class MLP(nn.Module):
    """Multilayer perceptron: float (B, *in_shape) → outputs (B, num_outputs).

    Args:
        in_shape: shape of one sample, any number of axes.
        num_outputs: number of outputs.
        hidden: size of each hidden layer; there may be none.
        activation: name of the activation after each hidden layer.
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
        hidden: Sequence[int],
        activation: Activation,
        dropout: float,
        norm: Norm,
        init: Init,
    ) -> None:
        super().__init__()
        check_shape(in_shape, num_outputs)
        self.layers = dense(math.prod(in_shape), hidden, num_outputs, activation, dropout, norm)
        initialise(self, init, activation)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layers(x.flatten(1))  # (B, size of a sample) → (B, num_outputs)
        return outputs
