"""Randomness as a function of where it is used: (seed, purpose, epoch, step, rank).

Whoever starts anywhere draws the same numbers, so a resumed run needs no generator's state.
"""

import random
from hashlib import blake2b

import numpy as np
import torch


def derive(seed: int, *where: int | str) -> int:
    """A number in [0, 2**63) that is as good as random in each of its arguments."""
    digest = blake2b(repr((seed, *where)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *where: int | str) -> torch.Generator:
    """A generator on the CPU that starts at ``derive(seed, *where)``."""
    return torch.Generator().manual_seed(derive(seed, *where))


def seed_all(device: torch.device, seed: int, *where: int | str) -> None:
    """Set the global generators of torch, numpy and Python to ``derive(seed, *where)``.

    Of torch's, those of the CPU and of `device`: `torch.manual_seed` sets every device's, and where there is no
    GPU takes a stack trace for later instead, which makes a step of a small net a fifth slower.
    """
    number = derive(seed, *where)
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)
