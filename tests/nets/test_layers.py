"""Activations, norms and initialisations."""

import pytest
import torch

from leyden.nets.layers import ACTIVATIONS, initialise, num_groups
from tests.nets.defaults import net


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_and_norm_are_the_chosen_ones_and_no_others(norm: str, activation: str) -> None:
    for built in (
        net("mlp", (1, 28, 28), 10, hidden=[16], activation=activation, norm=norm),
        net("cnn", (1, 28, 28), 10, activation=activation, norm=norm),
    ):
        names = [type(layer).__name__ for layer in built.modules()]
        others = {layer.__name__ for layer in ACTIVATIONS.values()} - {ACTIVATIONS[activation].__name__}
        assert ACTIVATIONS[activation].__name__ in names
        assert not others.intersection(names)
        assert any("Norm" in name for name in names) == (norm != "none")
        assert built(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_initialisation_draws_the_variance_of_its_paper() -> None:
    layer = torch.nn.Linear(400, 600)
    initialise(layer, "kaiming", "relu")
    assert layer.weight.var().item() == pytest.approx(2 / 400, rel=0.02)
    assert (layer.bias == 0).all()
    initialise(layer, "xavier", "sigmoid")
    assert layer.weight.var().item() == pytest.approx(2 / (400 + 600), rel=0.02)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (6, 1), (16, 4), (84, 21), (128, 32), (512, 32)])
def test_groups_have_equal_sizes_of_at_least_four_channels(channels: int, groups: int) -> None:
    assert num_groups(channels) == groups
