"""Randomness as a function of where it is used: (seed, purpose, epoch, step, rank).

The numbers do not depend on what was drawn before, so a resumed run does not need the state of a generator.
"""

import random
from hashlib import blake2b

import numpy as np
import torch


def derive(seed: int, *where: int | str) -> int:
    """Return a number in [0, 2**63) that changes unpredictably with each of the arguments (a hash)."""
    digest = blake2b(repr((seed, *where)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *where: int | str) -> torch.Generator:
    """Return a generator on the CPU with the seed ``derive(seed, *where)``."""
    return torch.Generator().manual_seed(derive(seed, *where))


def seed_all(device: torch.device, seed: int, *where: int | str) -> None:
    """Set the global generators of torch, numpy and Python to ``derive(seed, *where)``.

    Of torch's generators, only those of the CPU and of `device` are set. `torch.manual_seed` sets those of all devices;
    without a GPU it records a stack trace instead, which makes a step of a small net 20% slower.
    """
    number = derive(seed, *where)
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)
