"""Every net in conf/model against every data set's shape; no edit when one is added."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from leyden.assemble import cfg_dict
from leyden.build import build
from leyden.config import compose, groups
from leyden.errors import UserError
from leyden.nets.cnn import CNN
from leyden.nets.layers import ACTIVATIONS, initialise
from leyden.nets.mlp import MLP
from tests.conftest import SUPERVISED


@pytest.mark.parametrize("data", groups()["data"])
@pytest.mark.parametrize("model", SUPERVISED)
def test_samples_to_outputs_with_a_gradient_for_every_weight(model: str, data: str) -> None:
    cfg = compose(f"model={model}", f"data={data}")
    try:
        net = build(cfg_dict(cfg.model), "model")
    except UserError:
        pytest.skip("makes no sense, see tests/test_pairs.py")
    outputs = net(torch.randn(3, *cfg.data.shape))
    assert outputs.shape == (3, cfg.model.num_outputs)
    outputs.square().sum().backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("model", SUPERVISED)
def test_it_can_learn_32_samples_by_heart(model: str) -> None:
    torch.manual_seed(0)
    cfg = compose(f"model={model}", "data=digits")
    net = build(cfg_dict(cfg.model), "model")
    images, labels = torch.randn(32, *cfg.data.shape), torch.arange(32) % 10
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        cross_entropy(net(images), labels).backward()
        optimizer.step()
    assert (net.eval()(images).argmax(1) == labels).all()


def test_mlp_has_the_weights_of_its_sizes() -> None:
    net = MLP((1, 28, 28), 10, hidden=[128, 64])
    assert sum(weight.numel() for weight in net.parameters()) == 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10


def test_cnn_has_the_weights_of_the_tutorials_net() -> None:
    net = CNN((3, 32, 32), 10)
    assert sum(weight.numel() for weight in net.parameters()) == 62_006


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_options_change_the_net_and_nothing_else(norm: str, activation: str) -> None:
    for net in (
        MLP((1, 28, 28), 10, [16], activation, norm=norm),
        CNN((1, 28, 28), 10, activation=activation, norm=norm),
    ):
        names = [type(layer).__name__ for layer in net.modules()]
        assert ACTIVATIONS[activation].__name__ in names
        assert any("Norm" in name for name in names) == (norm != "none")
        assert net(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_dropout_zeroes_that_share_in_training_only() -> None:
    net = MLP((1000,), 2, hidden=[1000], dropout=0.3)
    hidden = net.layers[:-1]
    kept = (hidden.train()(torch.randn(50, 1000)) != 0).float().mean()
    alive = (hidden.eval()(torch.randn(50, 1000)) != 0).float().mean()
    assert kept / alive == pytest.approx(0.7, abs=0.02)


def test_initialisation_draws_the_variance_of_its_paper() -> None:
    layer = torch.nn.Linear(400, 600)
    initialise(layer, "kaiming", "relu")
    assert layer.weight.var().item() == pytest.approx(2 / 400, rel=0.02)
    assert (layer.bias == 0).all()
    initialise(layer, "xavier", "sigmoid")
    assert layer.weight.var().item() == pytest.approx(2 / (400 + 600), rel=0.02)
