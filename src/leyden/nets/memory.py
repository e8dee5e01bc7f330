"""Compute how much memory a net needs before it is allocated."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from leyden.errors import UserError

MAX_TENSORS = 10_000  # weights of a net; several times as many as the deepest nets have. They take seconds to build
COPIES = 4  # of each weight in a training: itself, its gradient, and two values that Adam keeps


def check_memory(build: Callable[[], nn.Module], number: int = 1) -> None:
    """Raise UserError if the net that `build` returns has too many layers, or if `number` of them need too much memory.

    Builds the net on the meta device, where tensors have a shape but no values. Takes a few milliseconds for a small
    net, and leaves torch's generator as it was. A net whose constructor needs values cannot be checked this way.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), limited_tensors(MAX_TENSORS):
            tensors = [*(net := build()).parameters(), *net.buffers()]
    except (RuntimeError, TypeError) as error:
        if "overflow" not in str(error).lower():
            return
        raise UserError("model: this net has more weights than can be counted. Choose smaller sizes") from error
    num_bytes = number * COPIES * sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    available = available_memory()
    if num_bytes > available:
        num_weights = number * sum(tensor.numel() for tensor in tensors)
        nets, them = ("this net has", "it") if number == 1 else (f"the {number} nets (ensemble) have", "them")
        raise UserError(
            f"model: {nets} {num_weights:,} weights. Training {them} needs at least {num_bytes / 1e9:,.1f} GB of "
            f"memory, but {available / 1e9:,.1f} GB are available. Choose smaller sizes"
        )


@contextmanager
def limited_tensors(most: int) -> Iterator[None]:
    """Raise UserError as soon as more than `most` weight tensors have been created inside."""
    created = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal created
        created += 1
        if created > most:
            raise UserError(f"model: this net has more than {most:,} weight tensors. Choose fewer layers")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def available_memory() -> float:
    """Return the bytes of main memory that are available, or infinity if the system does not report it."""
    path = Path("/proc/meminfo")
    if not path.exists():
        return float("inf")
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return 1024.0 * int(value.split()[0])
    return float("inf")
