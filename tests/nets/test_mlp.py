"""The multilayer perceptron."""

import pytest
import torch

from tests.nets.defaults import net


def test_mlp_has_the_weights_of_its_sizes() -> None:
    mlp = net("mlp", (1, 28, 28), 10, hidden=[128, 64])
    assert sum(weight.numel() for weight in mlp.parameters()) == 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10


def test_dropout_zeroes_that_fraction_in_training_only() -> None:
    mlp = net("mlp", (1000,), 2, hidden=[1000], dropout=0.3)
    hidden = mlp.layers[:-1]
    kept = (hidden.train()(torch.randn(50, 1000)) != 0).float().mean()
    alive = (hidden.eval()(torch.randn(50, 1000)) != 0).float().mean()
    assert kept / alive == pytest.approx(0.7, abs=0.02)
