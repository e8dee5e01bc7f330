"""Gradients of single samples equal those of a loop over the samples."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from leyden.nets.sample_gradients import ClippedGradients, recorded_calls, sample_gradients, unsupported_layer
from tests.nets.defaults import net

NETS = [
    ("cnn", {"norm": "group", "channels": [4, 8]}),
    ("mlp", {"norm": "layer", "hidden": [8]}),
    ("resnet", {"norm": "group", "widths": [4, 8], "depths": [1, 1]}),  # channels-last, and activations in place
    ("transformer", {"pool": "mean", "positions": "sinusoidal", "dim": 8, "num_layers": 1}),
]


def loop(built: nn.Module, x: Tensor, labels: Tensor) -> list[list[Tensor]]:
    """The gradient of each weight for each sample."""
    weights = list(built.parameters())
    losses = (cross_entropy(built(x[k : k + 1]), labels[k : k + 1]) for k in range(len(x)))
    return [list(torch.autograd.grad(loss, weights)) for loss in losses]


@pytest.mark.parametrize(("model", "arguments"), NETS, ids=[model for model, _ in NETS])
def test_they_equal_those_of_a_loop(model: str, arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    built = net(model, (1, 28, 28), 3, **arguments).double()
    x, labels = torch.randn(5, 1, 28, 28, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    wanted = loop(built, x, labels)
    norms = [torch.cat([gradient.flatten() for gradient in sample]).norm() for sample in wanted]
    limit = float(torch.stack(norms).median())  # some are shortened, some are not
    factors = [min(1.0, limit / (float(norm) + 1e-6)) for norm in norms]
    clipped = ClippedGradients(built, limit, chunk_size=2, finish=lambda total: total)
    clipped.attach()
    assert built(x).shape == (5, 3)
    cross_entropy(built(x), labels).backward()
    for number, weight in enumerate(built.parameters()):
        total = sum(factor * sample[number] for factor, sample in zip(factors, wanted, strict=True))
        assert torch.allclose(weight.grad, total, atol=1e-12)
    clipped.detach()
    with recorded_calls(built) as calls:
        outputs = built(x)
        grads = torch.autograd.grad(5 * cross_entropy(outputs, labels), outputs, retain_graph=True)[0]
        found = sample_gradients(calls, outputs, grads)
    for number, weight in enumerate(built.parameters()):
        assert torch.allclose(found[weight], torch.stack([sample[number] for sample in wanted]), atol=1e-12)


def test_an_empty_batch_has_no_gradient_but_what_is_added() -> None:
    built = net("mlp", (4,), 2, hidden=[3])
    clipped = ClippedGradients(built, 1.0, chunk_size=2, finish=lambda total: total + 1)
    clipped.attach()
    clipped.is_empty = True
    built(torch.zeros(1, 4)).sum().backward()
    assert all((weight.grad == 1).all() for weight in built.parameters())


@pytest.mark.parametrize(("model", "name"), [("lstm", "LSTM"), ("transformer", "Transformer")])
def test_layers_without_a_rule_are_found(model: str, name: str) -> None:
    assert type(unsupported_layer(net(model, (1, 28, 28), 3))).__name__ == name
