"""Leyden: train, sweep, compare and share neural networks on MNIST, CIFAR-10 and your own data."""

from typing import TYPE_CHECKING

from leyden.tools.load import load

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = ["compose", "load"]
__version__ = "0.1.0"


def compose(*overrides: str) -> "DictConfig":
    """Return the config that ``python train.py <overrides>`` runs; see `leyden.config.compose.compose`."""
    from leyden.config.compose import compose

    return compose(*overrides)
