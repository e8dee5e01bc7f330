"""Multilayer perceptron (Rumelhart, Hinton and Williams, 1986): dense layers on the flattened sample.

Of a table, the codes of categories are first replaced by learned vectors.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from leyden.nets.categories import CategoryVectors
from leyden.nets.layers import Activation, Init, Norm, check_shape, dense, initialise


class MLP(nn.Module):
    """Multilayer perceptron: float (B, *in_shape) → outputs (B, num_outputs).

    Args:
        in_shape: shape of one sample, any number of axes.
        num_outputs: number of outputs.
        hidden: size of each hidden layer; there may be none.
        activation: name of the activation after each hidden layer.
        dropout: probability of zeroing an activation of a hidden layer.
        norm: none, batch (Ioffe and Szegedy, 2015), layer (Ba et al., 2016) or group (Wu and He, 2018), before the
            activation.
        init: torch's default, kaiming or xavier.
        category_sizes: number of categories of each feature of a table, 0 for numbers. Empty: all are numbers.
        embedding: size of the vector of a category. None: it follows from the number of categories, see
            `leyden.nets.categories.vector_size`.

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
        category_sizes: Sequence[int],
        embedding: int | None,
    ) -> None:
        super().__init__()
        check_shape(in_shape, num_outputs)
        if category_sizes and list(in_shape) != [len(category_sizes)]:
            raise ValueError(f"category_sizes: has {len(category_sizes)} sizes, but in_shape is {list(in_shape)}")
        self.vectors = CategoryVectors(category_sizes, embedding) if any(category_sizes) else None
        in_size = math.prod(in_shape) if self.vectors is None else self.vectors.out_size
        self.layers = dense(in_size, hidden, num_outputs, activation, dropout, norm)
        initialise(self, init, activation)

    def forward(self, x: Tensor) -> Tensor:
        features = x.flatten(1) if self.vectors is None else self.vectors(x)  # (B, size of a sample)
        outputs: Tensor = self.layers(features)  # (B, num_outputs)
        return outputs
