"""Vectors of tokens, their mean, and the mask of padding."""

import copy

import pytest
import torch
from torch import nn

from leyden.nets.embedding import TokenBag, TokenEmbedding, check_tokens, mask_of
from leyden.nets.ensemble import Ensemble

IDS = torch.tensor([[4, 2, 3], [5, 1, 0], [2, 0, 0]])


def test_the_mask_is_false_for_padding_but_no_text_is_empty() -> None:
    assert mask_of(IDS).tolist() == [[True, True, True], [True, True, False], [True, False, False]]
    assert mask_of(torch.zeros(2, 3, dtype=torch.int64)).tolist() == [[True, False, False]] * 2


def test_each_token_has_a_vector() -> None:
    embedding = TokenEmbedding(6, 4)
    assert torch.equal(embedding(IDS)[1, 0], embedding.weight[5])


def test_a_bag_is_the_mean_without_padding() -> None:
    bag = TokenBag(6, 4, None, more=2)
    assert bag.weight.shape == (8, 4)
    weight = bag.weight.detach()
    wanted = torch.stack((weight[[4, 2, 3]].mean(0), weight[[5, 1]].mean(0), weight[2]))
    assert bag(IDS).allclose(wanted, atol=1e-7)
    bag(IDS).sum().backward()
    assert bag.weight.grad is not None
    assert bag.weight.grad.any(1).tolist() == [False, True, True, True, True, True, False, False]


@pytest.mark.parametrize("layer", [TokenEmbedding(6, 4), TokenBag(6, 4, None, more=0)])
def test_members_of_an_ensemble_are_trained_as_alone(layer: nn.Module) -> None:
    """torch's vmap, for example, ignores `padding_idx` for all members but the first."""
    nets = [nn.Sequential(copy.deepcopy(layer), nn.Linear(4, 2)) for _ in range(2)]
    ensemble = Ensemble(nets)
    ensemble.is_slow_on_cpu = False  # as on a GPU
    ensemble(IDS.repeat(2, 1)).square().mean().backward()
    for number, net in enumerate(nets):
        net(IDS).square().mean().backward()
        assert net[0].weight.grad.allclose(ensemble.stacked.get_parameter("0.weight").grad[number], atol=1e-6)


def test_sizes() -> None:
    with pytest.raises(ValueError, match=r"^embedding: got 0, must be at least 1"):
        TokenEmbedding(6, 0)
    with pytest.raises(ValueError, match=r"^vocab_size: got 1, must be at least 2"):
        TokenBag(1, 4, None, more=0)


@pytest.mark.parametrize(("in_shape", "vocab_size"), [([10], 0), ([1, 8, 8], 20), ([5, 2], 0)])
def test_inputs_that_are_no_tokens(in_shape: list[int], vocab_size: int) -> None:
    with pytest.raises(ValueError, match=r"^in_shape: got \[.*\], a bag needs texts \[tokens\]"):
        check_tokens(in_shape, vocab_size, "bag")
