"""Several nets of the same kind as one net: their weights are stacked, and one operation computes a layer of all.

The nets do not share anything. Each has the gradient that it would have alone, so an optimizer that treats each number
of a weight by itself trains them as in separate runs.

    M  members          B  samples per member          O  outputs
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from leyden.nets.embedding import TokenEmbedding

# A grouped convolution, which vmap makes of M convolutions, takes two to four times as long on a CPU (oneDNN). For
# attention with a mask, which a net with an embedding of tokens may have, vmap has no rule there.
SLOW_ON_CPU = (nn.Conv1d, nn.Conv2d, nn.Conv3d, TokenEmbedding)
NOT_BATCHED = (nn.RNNBase, nn.EmbeddingBag)  # vmap has no rule for them

Combine = Callable[[Tensor], Tensor]


class Ensemble(nn.Module):
    """M nets with stacked weights.

    In training mode, float (M · B, ...) → (M · B, O): the first B samples are those of the first member, and so on.
    Otherwise (B, ...) → (B, O): every member gets all samples, and `combine` makes one output of theirs.

    Args:
        nets: the members; they have the same layers and sizes.

    Attributes:
        combine: (M, B, O) → (B, O); the task sets it.
    """

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.num_members = len(nets)
        self.combine: Combine = mean_outputs
        self.stacked = stack(nets)  # one net whose weights are (M, ...)
        layers = [*self.stacked.modules()]
        self.is_batched = not any(isinstance(layer, NOT_BATCHED) for layer in layers)
        self.is_slow_on_cpu = any(isinstance(layer, SLOW_ON_CPU) for layer in layers)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.combine(self._outputs(x.expand(self.num_members, *x.shape)))
        outputs = self._outputs(x.view(self.num_members, -1, *x.shape[1:]))  # (M, B, O)
        scaled: Tensor = ScaledGradient.apply(outputs.flatten(0, 1), self.num_members)
        return scaled

    def _outputs(self, x: Tensor) -> Tensor:
        """Inputs of each member, (M, B, ...) → its outputs, (M, B, O)."""
        # Not in an evaluation: forward hooks and exports see ordinary tensors there, and large batches gain nothing.
        if self.training and self.is_batched and not (self.is_slow_on_cpu and x.device.type == "cpu"):
            outputs: Tensor = vmap(self._call, randomness="different")(self._state(), x)
            return outputs
        parts = {name: tensor.unbind() for name, tensor in self._state().items()}
        single = ({name: part[number] for name, part in parts.items()} for number in range(self.num_members))
        return torch.stack([self._call(state, inputs) for state, inputs in zip(single, x, strict=True)])

    def member(self, number: int, x: Tensor) -> Tensor:
        """Return the outputs of one member, (B, ...) → (B, O)."""
        return self._call({name: tensor[number] for name, tensor in self._state().items()}, x)

    def single(self, number: int) -> nn.Module:
        """Return a copy of one member as an ordinary net."""
        net = copy.deepcopy(self.stacked)
        for path, weight in self.stacked.named_parameters():
            layer, name = _owner(net, path)
            setattr(layer, name, nn.Parameter(weight.detach()[number].clone(memory_format=torch.contiguous_format)))
        for path, buffer in self.stacked.named_buffers():
            layer, name = _owner(net, path)
            setattr(layer, name, buffer[number].clone())
        return net

    def _state(self) -> dict[str, Tensor]:
        return {**dict(self.stacked.named_parameters()), **dict(self.stacked.named_buffers())}

    def _call(self, state: dict[str, Tensor], x: Tensor) -> Tensor:
        outputs: Tensor = functional_call(self.stacked, state, (x,))
        return outputs


class ScaledGradient(torch.autograd.Function):
    """Return the input unchanged, and multiply its gradient.

    The loss of a batch is the mean over the samples of all M members. Its gradient is 1 / M of that of a single run.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: int) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def stack(nets: Sequence[nn.Module]) -> nn.Module:
    """Return a copy of the first net with the weights and buffers of all nets, each (M, ...).

    The gradient of a stacked matrix comes out of the backward pass transposed. So the matrix is stored transposed too:
    otherwise torch copies each gradient, which takes a fifth of a step, and two fifths in bfloat16.
    """
    weights, buffers = stack_module_state([*nets])
    net = copy.deepcopy(nets[0])
    for path, weight in weights.items():
        layer, name = _owner(net, path)
        values = weight.detach()
        if isinstance(layer, nn.Linear) and name == "weight":
            values = values.transpose(1, 2).contiguous().transpose(1, 2)
        setattr(layer, name, nn.Parameter(values, requires_grad=nets[0].get_parameter(path).requires_grad))
    for path, buffer in buffers.items():
        layer, name = _owner(net, path)
        setattr(layer, name, buffer)
    return net


def _owner(net: nn.Module, path: str) -> tuple[nn.Module, str]:
    parent, _, name = path.rpartition(".")
    return net.get_submodule(parent), name


def mean_outputs(outputs: Tensor) -> Tensor:
    """Combine outputs that are numbers: (M, B, O) → their mean, (B, O)."""
    return outputs.mean(0)


def mean_probabilities(outputs: Tensor) -> Tensor:
    """Combine logits of classes: (M, B, K) → the logarithm of the mean probabilities, (B, K)."""
    return outputs.log_softmax(-1).logsumexp(0) - torch.tensor(len(outputs)).log()


def mean_label_probabilities(outputs: Tensor) -> Tensor:
    """Combine logits of labels: (M, B, K) → the logits of the mean probabilities, (B, K)."""
    positive, negative = (torch.nn.functional.logsigmoid(sign * outputs).logsumexp(0) for sign in (1, -1))
    return positive - negative  # 1 / M cancels out


def mean_symbol_probabilities(outputs: Tensor, num_symbols: int) -> Tensor:
    """Combine logits of texts, (M, B, L · V): `mean_probabilities` at each of the L positions, (B, L · V)."""
    return mean_probabilities(outputs.view(*outputs.shape[:2], -1, num_symbols)).flatten(1)
