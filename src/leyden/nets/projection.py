"""Small nets behind a backbone in self-supervised training: the projector and the predictor. They are dropped later."""

from collections.abc import Sequence

from torch import nn

from leyden.nets.layers import Norm, check_sizes, dense


def projection(name: str, num_features: int, sizes: Sequence[int], norm: Norm) -> nn.Sequential:
    """Return dense layers: (B, num_features) → (B, sizes[-1]), with a norm and a ReLU between two layers.

    Args:
        name: of the argument that gives `sizes`, for messages.
        num_features: size of the input.
        sizes: of the layers.
        norm: none, batch or layer.

    Raises:
        ValueError: there is no size, or one is below 1.
    """
    check_sizes(name, sizes)
    if not sizes:
        raise ValueError(f"{name}: got [], must be the sizes of its layers, such as [256,64]")
    *hidden, last = sizes
    return dense(num_features, hidden, last, "relu", 0.0, norm)
