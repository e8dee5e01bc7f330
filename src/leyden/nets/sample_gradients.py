"""Gradients of single samples, from one forward and one backward pass of a whole batch.

During the forward pass, the inputs and outputs of each layer with weights are kept. One backward pass gives the
gradients of the outputs. Together with the inputs they give the gradient of the weights for each sample; Opacus has
the rule for each kind of layer. This works only if a sample's outputs depend on this sample alone.

    B  samples of a batch          P  shape of a weight
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from leyden.optim.privacy import opacus

# The kinds of layers whose weights can be trained. Subclasses may compute something else, so they are not accepted.
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.GroupNorm, nn.LayerNorm)
IN_PLACE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.ELU, nn.Hardtanh, nn.Hardswish, nn.Dropout)

Rule = Callable[[nn.Module, list[Tensor], Tensor], Mapping[Parameter, Tensor]]
Call = tuple[nn.Module, Tensor, Tensor]  # of a layer: itself, its input, its output


def unsupported_layer(net: nn.Module) -> nn.Module | None:
    """Return a layer with trainable weights that is not one of `LAYERS`, or None if there is none."""
    for layer in net.modules():
        trained = any(weight.requires_grad for weight in layer.parameters(recurse=False))
        if trained and type(layer) not in LAYERS:
            return layer
    return None


@contextmanager
def recorded_calls(net: nn.Module) -> Iterator[list[Call]]:
    """Collect the calls of the layers with trainable weights inside."""
    calls: list[Call] = []

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append((layer, inputs[0].detach(), output))

    layers = [layer for layer in net.modules() if type(layer) in LAYERS]
    handles = [layer.register_forward_hook(record) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def sample_gradients(calls: list[Call], outputs: Tensor, grad_outputs: Tensor) -> dict[Parameter, Tensor]:
    """Return weight → its gradient for each sample, (B, *P).

    Args:
        calls: the recorded calls of the net that gave `outputs`.
        outputs: (B, ...), with their graph.
        grad_outputs: for each sample, the gradient of its loss with regard to its outputs, (B, ...).
    """
    rules: Mapping[type, Rule] = opacus().GradSampleModule.GRAD_SAMPLERS
    ends = torch.autograd.grad(outputs, [output for _, _, output in calls], grad_outputs)
    found: dict[Parameter, Tensor] = {}
    with torch.no_grad():
        for (layer, inputs, _), grad_output in zip(calls, ends, strict=True):
            # Opacus 1.6 computes wrong gradients of convolutions from inputs in channels-last format.
            for weight, gradients in rules[type(layer)](layer, [inputs.contiguous()], grad_output).items():
                found[weight] = found[weight] + gradients if weight in found else gradients
    return found


def clipped_sum(gradients: Mapping[Parameter, Tensor], max_norm: float) -> dict[Parameter, Tensor]:
    """Return weight → the sum of the gradients of all samples, each shortened to the L2 norm `max_norm`, (*P)."""
    squares = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients.values()])  # (weights, B)
    factors = (max_norm / (squares.sum(0).sqrt() + 1e-6)).clamp(max=1.0)  # (B,)
    return {weight: (factors @ gradient.flatten(1)).view_as(weight) for weight, gradient in gradients.items()}


class ClippedGradients:
    """Makes a net compute the sum of clipped gradients of single samples in each backward pass.

    While it is attached, the outputs of `net` in training mode begin a graph of their own. Its backward pass gives
    `finish` the sum over the samples, and the weights get what `finish` returns as their gradients.

    Args:
        net: has `LAYERS` only.
        max_norm: largest L2 norm of the gradient of a sample.
        chunk_size: number of samples whose gradients are in memory at the same time.
        finish: sum of the clipped gradients of a weight, (*P) → its gradient, (*P).
    """

    def __init__(self, net: nn.Module, max_norm: float, chunk_size: int, finish: Callable[[Tensor], Tensor]) -> None:
        self.net, self.max_norm, self.chunk_size, self.finish = net, max_norm, chunk_size, finish
        self.compute = net.forward
        self.is_empty = False  # whether the next batch stands for one without samples

    def attach(self) -> None:
        """Take over the forward pass of the net."""
        for layer in self.net.modules():
            if isinstance(layer, IN_PLACE):
                layer.inplace = False  # otherwise the kept output of the layer before it is overwritten
        self.net.forward = self._forward

    def detach(self) -> None:
        """Give the net its own forward pass back."""
        self.net.forward = self.compute

    def _forward(self, x: Tensor) -> Tensor:
        if not (self.net.training and torch.is_grad_enabled()):
            outputs: Tensor = self.compute(x)
            return outputs
        chunks: list[tuple[list[Call], Tensor]] = []
        for part in torch.split(x, self.chunk_size):
            with recorded_calls(self.net) as calls:
                chunks.append((calls, self.compute(part)))
        start = torch.cat([part.detach() for _, part in chunks]).requires_grad_()
        start.register_hook(lambda grads: self._backward(chunks, grads))  # type: ignore[no-untyped-call]
        return start

    def _backward(self, chunks: list[tuple[list[Call], Tensor]], grad_outputs: Tensor) -> None:
        """Set the gradients of the weights. The loss is a mean over the samples, so its gradient is multiplied by B."""
        weights = [weight for weight in self.net.parameters() if weight.requires_grad]
        totals = {weight: torch.zeros_like(weight) for weight in weights}
        if not self.is_empty:
            parts = torch.split(grad_outputs * len(grad_outputs), self.chunk_size)
            for (calls, outputs), part in zip(chunks, parts, strict=True):
                for weight, total in clipped_sum(sample_gradients(calls, outputs, part), self.max_norm).items():
                    totals[weight] += total
        chunks.clear()
        for weight, total in totals.items():
            gradient = self.finish(total)
            weight.grad = gradient if weight.grad is None else weight.grad + gradient
