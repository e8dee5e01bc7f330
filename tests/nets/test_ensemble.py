"""Stacked nets: the same outputs, gradients and running statistics as each net alone."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from leyden.nets.ensemble import (
    Ensemble,
    mean_label_probabilities,
    mean_outputs,
    mean_probabilities,
    mean_symbol_probabilities,
)


def dense(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def convolution(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(6, 3))


class Recurrence(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.GRU(1, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = self.layer(x.t()[..., None])  # (5, B, 3)
        last: Tensor = outputs[-1]
        return last


@pytest.mark.parametrize("make", [dense, convolution, Recurrence])
def test_each_member_is_trained_as_it_is_alone(make: type[nn.Module]) -> None:
    nets = [make(seed) for seed in range(3)]
    ensemble, inputs = Ensemble([copy.deepcopy(net) for net in nets]), torch.randn(12, 5)
    outputs = ensemble(inputs)  # (3 · 4, 3)
    outputs.square().mean().backward()
    for number, net in enumerate(nets):
        alone = net(inputs[number * 4 : (number + 1) * 4])
        alone.square().mean().backward()
        assert torch.allclose(outputs[number * 4 : (number + 1) * 4], alone, atol=1e-6)
        for name, weight in net.named_parameters():
            assert weight.grad is not None
            assert torch.allclose(ensemble.stacked.get_parameter(name).grad[number], weight.grad, atol=1e-6), name
        for name, buffer in net.named_buffers():
            assert torch.allclose(ensemble.stacked.get_buffer(name)[number], buffer, atol=1e-6), name
    with torch.no_grad():
        combined = ensemble.eval()(inputs)
        assert torch.allclose(combined, torch.stack([net.eval()(inputs) for net in nets]).mean(0), atol=1e-6)


def test_a_gradient_is_not_copied() -> None:
    """It has the layout of its weight; see `leyden.nets.ensemble.stack`."""
    ensemble = Ensemble([dense(seed) for seed in range(2)])
    ensemble(torch.randn(8, 5)).sum().backward()
    weight = ensemble.stacked.get_parameter("0.weight")
    assert weight.grad is not None
    assert weight.stride() == weight.grad.stride() == (40, 1, 8)


def test_numbers_are_averaged() -> None:
    assert mean_outputs(torch.tensor([[[1.0]], [[4.0]]])).tolist() == [[2.5]]


def test_probabilities_of_classes_are_averaged() -> None:
    logits = torch.tensor([[[0.2, 0.8]], [[0.6, 0.4]]]).log() + 3.0  # a constant changes no probability
    assert mean_probabilities(logits).exp().tolist() == [[pytest.approx(0.4), pytest.approx(0.6)]]
    symbols = torch.cat([logits, logits.flip(0, 2)], 2)  # two positions
    found = mean_symbol_probabilities(symbols, 2).exp().tolist()
    assert found == [[pytest.approx(value) for value in (0.4, 0.6, 0.6, 0.4)]]


def test_probabilities_of_labels_are_averaged() -> None:
    logits = torch.tensor([[[math.log(0.1 / 0.9)]], [[0.0]]])  # 0.1 and 0.5
    assert mean_label_probabilities(logits).sigmoid().item() == pytest.approx(0.3)


def test_a_single_member_is_an_ordinary_net() -> None:
    nets = [dense(seed).eval() for seed in range(2)]
    single = Ensemble(nets).single(1)
    inputs = torch.randn(4, 5)
    assert torch.equal(single(inputs), nets[1](inputs))
