"""Losses that compare all samples of a batch with each other, for batches that are larger than one forward pass.

Gradient caching (Gao et al., 2021): the forward pass runs in chunks that keep no activations, the loss is computed from
the embeddings of all of them, and the backward pass computes each chunk again. The gradient is that of the whole batch.
Differences: it uses torch's checkpointing, so a step needs no second loop. A batch norm sees one chunk at a time, as it
sees the samples of one process with several processes.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.utils.checkpoint import checkpoint

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def in_chunks(nets: nn.Module, forward: Callable[[Tensor], Tensor], inputs: Tensor, chunk: int) -> Tensor:
    """Return ``forward(inputs)``, computed in chunks if there are more than `chunk` inputs.

    Args:
        nets: contains the nets that `forward` uses.
        forward: (B, ...) → (B, D).
        inputs: (N, ...)
        chunk: largest number of inputs in a forward pass; 0: all.
    """
    if not 0 < chunk < len(inputs):
        return forward(inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), frozen_statistics(nets)

    parts: list[Any] = [
        checkpoint(forward, part, use_reentrant=False, context_fn=contexts) for part in torch.split(inputs, chunk)
    ]
    return torch.cat(parts)


@contextmanager
def frozen_statistics(nets: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norms: the second forward pass of a chunk must not count it again."""
    norms = [layer for layer in nets.modules() if isinstance(layer, BATCH_NORMS)]
    before = [(layer.momentum, layer.num_batches_tracked) for layer in norms]
    for layer, (_, count) in zip(norms, before, strict=True):
        layer.momentum, layer.num_batches_tracked = 0.0, None if count is None else count.clone()
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(norms, before, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, count


class Gather(torch.autograd.Function):
    """Tensors of all processes, with a gradient.

    Each process computes the same loss of the result. DDP averages the gradients of the weights over the P processes.
    So the sum of their gradients with respect to the tensor of one process gives the gradient of that loss.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        parts = [torch.empty_like(values) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, values)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]


def of_all_processes(values: Tensor) -> Tensor:
    """Return the rows of all processes, (P * B, D), from (B, D) of this one. All have the same number of rows."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return values
    gathered: Tensor = Gather.apply(values.contiguous())
    return gathered
