"""Activations, norms and initialisations that nets select by name, and a stack of dense layers."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

Activation = Literal["relu", "leaky_relu", "tanh", "sigmoid", "gelu"]
Norm = Literal["none", "batch", "layer", "group"]
Init = Literal["default", "kaiming", "xavier"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}


def norm_1d(norm: Norm, size: int) -> list[nn.Module]:
    """Return the normalisation of (B, size) as a list of zero or one module."""
    if norm == "none":
        return []
    if norm == "group":
        return [nn.GroupNorm(num_groups(size), size)]
    return [nn.BatchNorm1d(size) if norm == "batch" else nn.LayerNorm(size)]


def norm_2d(norm: Norm, channels: int) -> list[nn.Module]:
    """Return the normalisation of (B, channels, H, W) as a list of zero or one module. Layer norm uses C, H and W."""
    if norm == "none":
        return []
    groups = num_groups(channels) if norm == "group" else 1
    return [nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(groups, channels)]


def num_groups(channels: int) -> int:
    """Return the number of groups of group norm (Wu and He, 2018): at most 32, of equal size, at least 4 channels."""
    return max(number for number in range(1, 33) if channels % number == 0 and (number == 1 or channels >= 4 * number))


def dense(
    in_size: int, hidden: Sequence[int], out_size: int, activation: Activation, dropout: float, norm: Norm
) -> nn.Sequential:
    """Return a stack of dense layers: (B, in_size) → (B, out_size).

    Each hidden layer consists of a linear layer, a norm, an activation and dropout; the last layer is linear.

    Raises:
        ValueError: a size is below 1, or `dropout` is not in [0, 1).
    """
    check_sizes("hidden", hidden)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: got {dropout}, must be at least 0 and below 1")
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(in_size, size), *norm_1d(norm, size), ACTIVATIONS[activation](), nn.Dropout(dropout)]
        in_size = size
    return nn.Sequential(*layers, nn.Linear(in_size, out_size))


def check_sizes(name: str, sizes: Sequence[int]) -> None:
    """Raise ValueError unless every size is at least 1."""
    if any(size < 1 for size in sizes):
        raise ValueError(f"{name}: got {list(sizes)}, every size must be at least 1")


def check_shape(in_shape: Sequence[int], num_outputs: int = 1) -> None:
    """Raise ValueError unless all sides of a sample and the number of outputs are at least 1."""
    if not in_shape or any(side < 1 for side in in_shape):
        raise ValueError(f"in_shape: got {list(in_shape)}, every side must be at least 1")
    if num_outputs < 1:
        raise ValueError(f"num_outputs: got {num_outputs}, must be at least 1")


def initialise(net: nn.Module, init: Init, activation: Activation) -> None:
    """Re-initialise the weights of linear and convolutional layers, and set their biases to 0.

    kaiming (He et al., 2015) keeps the variance through activations like relu, xavier (Glorot and Bengio, 2010) through
    symmetric ones; default keeps torch's initialisation.
    """
    if init == "default":
        return
    gain = nn.init.calculate_gain("relu" if activation == "gelu" else activation)
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            if init == "kaiming":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(layer.weight, gain)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
