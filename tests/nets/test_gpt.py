"""The net gpt: causal, with a cache that changes nothing, and with the initial weights of GPT-2."""

import math
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from leyden.nets.gpt import GPT, rotate, rotations

SIZES: dict[str, Any] = {
    "in_shape": [12], "num_outputs": 20, "vocab_size": 20, "dim": 16, "num_layers": 2, "num_heads": 2, "mlp_ratio": 2.0,
    "positions": "learned", "tie_weights": True, "dropout": 0.0,
}  # fmt: skip


def gpt(**changed: Any) -> GPT:
    torch.manual_seed(0)
    net = GPT(**{**SIZES, **changed}).eval()
    for weight in net.parameters():  # larger than at the start: otherwise attention is almost uniform
        weight.data.mul_(5)
    return net


both = pytest.mark.parametrize("positions", ["learned", "rotary"])


@both
@pytest.mark.parametrize("cuts", [[1] * 12, [5, 1, 1, 5], [12]])
def test_the_cache_does_not_change_the_logits(positions: str, cuts: list[int]) -> None:
    net, ids = gpt(positions=positions), torch.randint(0, 20, (3, 12))
    cache = net.new_cache()
    with torch.no_grad():
        parts = [net(part, cache) for part in ids.split(cuts, dim=1)]
        assert torch.allclose(torch.cat(parts, 1), net(ids), atol=1e-5)
    assert len(cache) == 12


@both
def test_a_token_sees_only_itself_and_those_before_it(positions: str) -> None:
    net, ids = gpt(positions=positions), torch.randint(0, 20, (1, 12))
    changed = ids.clone()
    changed[0, 7] = (ids[0, 7] + 1) % 20
    with torch.no_grad():
        differs = (net(ids) - net(changed)).abs().amax(2)[0] > 1e-6
    assert differs.tolist() == [False] * 7 + [True] * 5


@both
def test_the_position_of_a_token_matters(positions: str) -> None:
    """Attention alone would give the same logits for the same tokens in another order."""
    net = gpt(positions=positions)
    with torch.no_grad():
        one, other = net(torch.tensor([[3, 5, 7], [5, 3, 7]]))[:, -1]
    assert (one - other).abs().max() > 1e-4


def test_rotary_positions_depend_on_the_distance_only() -> None:
    query, key, rotation = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8), rotations(20, 8)

    def score(at: int, other: int) -> float:
        turned = [rotate(x, rotation[:, place : place + 1]) for x, place in ((query, at), (key, other))]
        return float((turned[0] * turned[1]).sum())

    assert score(9, 4) == pytest.approx(score(15, 10), abs=1e-5)
    assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-3)
    assert score(3, 3) == pytest.approx(float((query * key).sum()), abs=1e-5)


def test_the_initial_weights_are_those_of_gpt_2() -> None:
    torch.manual_seed(0)
    net = GPT(**{**SIZES, "dim": 128, "num_layers": 4, "vocab_size": 256, "num_outputs": 256})
    found = {name: weight for name, weight in net.named_parameters() if "norm" not in name}
    for name, weight in found.items():
        last = name.endswith(("attention.out.weight", "feed_forward.3.weight"))
        std = 0.0 if name.endswith("bias") else 0.02 / math.sqrt(8) if last else 0.02
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.05), name
    assert sum("attention.out.weight" in name or "feed_forward.3.weight" in name for name in found) == 8
    ids = torch.randint(0, 256, (4, 12))
    loss = cross_entropy(net(ids).flatten(0, 1), ids.roll(-1, 1).flatten()).detach()
    assert float(loss) == pytest.approx(math.log(256), abs=0.1)


def test_tied_weights_are_stored_once() -> None:
    tied, free = gpt(), gpt(tie_weights=False)
    assert {*free.state_dict()} - {*tied.state_dict()} == {"head.weight"}


def test_every_weight_has_a_gradient() -> None:
    for positions in ("learned", "rotary"):
        net = gpt(positions=positions, tie_weights=False)
        net(torch.randint(0, 20, (3, 12))).square().sum().backward()
        assert [name for name, weight in net.named_parameters() if not weight.grad.abs().sum()] == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vocab_size": 0}, r"in_shape: got \[12\], a gpt needs a text to continue"),
        ({"in_shape": [1, 8, 8]}, r"in_shape: got \[1, 8, 8\], a gpt needs a text to continue"),
        ({"num_outputs": 5}, r"in_shape: got \[12\], a gpt needs a text to continue"),
        ({"num_heads": 3}, "num_heads: got 3, must divide dim, which is 16"),
        ({"num_heads": 16, "positions": "rotary"}, "num_heads: got 16, but rotary positions need heads of an even"),
        ({"dropout": 1.0}, "dropout: got 1.0, must be at least 0 and below 1"),
    ],
)
def test_a_wrong_size_names_its_argument(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        gpt(**changed)


def test_more_tokens_than_positions_are_an_error() -> None:
    net = gpt()
    with pytest.raises(ValueError, match="13 tokens are too many, this net has 12 positions"):
        net(torch.zeros(1, 13, dtype=torch.int64))
    cache = net.new_cache()
    net(torch.zeros(1, 12, dtype=torch.int64), cache)
    with pytest.raises(ValueError, match="13 tokens are too many"):
        net(torch.zeros(1, 1, dtype=torch.int64), cache)
