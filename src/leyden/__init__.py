"""Leyden: train, sweep, compare and hand on neural networks on MNIST and CIFAR-10."""

from leyden.load import load

__all__ = ["load"]
__version__ = "0.1.0"
