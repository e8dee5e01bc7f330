"""What an evaluation gives: metrics, and the outputs of the model for each sample."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from leyden.modules.autoencoder import Autoencoder
from leyden.modules.base import BaseModule


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What the evaluation of a split gives. All tensors are on the CPU, in the order of the samples.

    Args:
        name: ``val``, ``test`` or the name of other data.
        metrics: name → value, as in the report.
        inputs: as the data set reads them, for example uint8 images (N, C, H, W).
        targets: (N, ...)
        outputs: what the module returns for the inputs, (N, ...); the anomaly scores, (N,), of an autoencoder; None
            for a vae, a gan or a flow.
        sources: the name of each sample of other data, for example its file; empty for a split of the run.
        broken: a message for each file of other data that could not be read.
    """

    name: str
    metrics: dict[str, float]
    inputs: Tensor
    targets: Tensor
    outputs: Tensor | None
    sources: tuple[str, ...] = ()
    broken: tuple[str, ...] = field(default=(), repr=False)


@contextmanager
def recorded(module: BaseModule) -> Iterator[list[Tensor]]:
    """Add the outputs of each batch that `module` computes to a list, on the CPU. Of an autoencoder, the scores."""
    found: list[Tensor] = []

    def keep(_: nn.Module, arguments: tuple[Tensor], output: Tensor) -> None:
        if isinstance(module, Autoencoder):  # its images would need four times the memory of the data set
            output = module.named_outputs(output, arguments[0])["scores"]
        found.append(output.detach().to(torch.float64 if output.dtype is torch.float64 else torch.float32).cpu())

    handle = module.register_forward_hook(keep)
    try:
        yield found
    finally:
        handle.remove()


def joined(outputs: list[Tensor], num: int) -> Tensor | None:
    """Return the outputs of all batches, (num, ...), or None if the task has not one output per sample."""
    return torch.cat(outputs) if sum(len(batch) for batch in outputs) == num else None
