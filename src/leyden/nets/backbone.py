"""Any net as a feature extractor: its features are what its last linear layer receives.

A net needs no method for this. So nets of torchvision, timm and plugins are backbones too.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from leyden.nets.codec import NetPair


class NoHead(nn.Identity):
    """Stands in the place of the last linear layer of a net, which then returns its features.

    Args:
        num_features: F, the number of features.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def last_layer(net: nn.Module) -> nn.Linear | NoHead | None:
    """Return the last linear layer of a net, in the order in which its layers are defined, or what stands for it.

    None: the net has no linear layer.
    """
    layers = list(net.modules())
    without = [layer for layer in layers if isinstance(layer, NoHead)]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    return (without or linear or [None])[-1]


def received_features(net: nn.Module, forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Return what the last linear layer of `net` receives when `forward`, which calls it, is called, (B, F)."""
    layer = last_layer(net)
    received: list[Tensor] = []
    assert layer is not None
    handle = layer.register_forward_pre_hook(lambda _, arguments: received.append(arguments[0]))
    try:
        forward(inputs)
    finally:
        handle.remove()
    return received[-1].flatten(1)


def remove_head(net: nn.Module, in_shape: Sequence[int]) -> int:
    """Replace the last linear layer of a net, in place, so that the net returns its features: (B, ...) → (B, F).

    Args:
        net: its outputs are those of its last linear layer.
        in_shape: shape of a sample.

    Returns:
        F, the number of features.

    Raises:
        ValueError: the net does not end with a linear layer, or has no weights before it. The message goes on after
            the name of the net.
    """
    named = [(name, layer) for name, layer in net.named_modules() if isinstance(layer, nn.Linear) and name]
    if not named or isinstance(net, NetPair) or not ends_with(net, named[-1][1], in_shape):
        raise ValueError("does not end with a linear layer, so nothing in it gives one vector of features per sample")
    name, head = named[-1]
    net.set_submodule(name, NoHead(head.in_features))
    if not any(weight.requires_grad for weight in net.parameters()):
        raise ValueError("has no layer before its last one, so it has no features to train")
    return head.in_features


@torch.no_grad()
def ends_with(net: nn.Module, layer: nn.Linear, in_shape: Sequence[int]) -> bool:
    """Return whether the outputs of `net` are those of `layer`, which it calls once per sample."""
    shapes: list[torch.Size] = []
    handle = layer.register_forward_hook(lambda _, arguments, output: shapes.append(output.shape))
    training = net.training
    outputs = net.eval()(torch.zeros(2, *in_shape))
    net.train(training)
    handle.remove()
    return shapes == [outputs.shape] == [torch.Size((2, layer.out_features))]
