"""Drawing tokens: probabilities worked out by hand, and texts that do not depend on the cache."""

import pytest
import torch
from torch import Tensor

from leyden.modules.text_sampling import Sampling, continued
from leyden.nets.gpt import GPT
from tests.nets.test_gpt import gpt

LOGITS = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()  # of these probabilities


def probabilities(temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    return Sampling(temperature, top_k, top_p).probabilities(LOGITS)[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [0.1, 0.4, 0.2, 0.3]),
        ({"temperature": 0.5}, [1 / 30, 16 / 30, 4 / 30, 9 / 30]),  # squares
        ({"temperature": 0}, [0, 1, 0, 0]),
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_k": 9}, [0.1, 0.4, 0.2, 0.3]),
        ({"top_p": 0.65}, [0, 4 / 7, 0, 3 / 7]),  # 0.4 is not enough, 0.7 is
        ({"top_p": 0.75}, [0, 4 / 9, 2 / 9, 3 / 9]),
        ({"top_p": 0.01}, [0, 1, 0, 0]),  # the most likely one always remains
        ({"top_k": 3, "top_p": 0.5}, [0, 4 / 7, 0, 3 / 7]),
    ],
)
def test_probabilities(arguments: dict[str, float], expected: list[float]) -> None:
    assert probabilities(**arguments).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((-1.0, 0, 1.0), "temperature: got -1.0, must be between 0 and 100"),
        ((float("nan"), 0, 1.0), "temperature: got nan"),
        ((1.0, -1, 1.0), "top_k: got -1, must be at least 0"),
        ((1.0, 0, 0.0), "top_p: got 0.0, must be above 0 and at most 1"),
        ((1.0, 0, 1.5), "top_p: got 1.5, must be above 0 and at most 1"),
    ],
)
def test_a_value_out_of_its_range(values: tuple[float, int, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Sampling(*values)


def without_cache(net: GPT, prompt: list[int], num: int, allowed: Tensor) -> list[int]:
    """The most likely tokens, each from a new computation of at most 12 tokens; when they are full, the last 6."""
    ids, start = list(prompt), 0
    for _ in range(num):
        if len(ids) - start > 12:
            start = len(ids) - 6
        logits = net(torch.tensor([ids[start:]]))[0, -1]
        ids.append(int(logits.where(allowed, torch.tensor(-torch.inf)).argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_text_does_not_depend_on_the_cache_and_may_be_longer_than_the_positions(positions: str) -> None:
    net, allowed = gpt(positions=positions), torch.arange(20) > 1
    found = continued(net, torch.tensor([[3, 4, 5]]), 40, Sampling(0, 0, 1.0), torch.Generator(), allowed)
    with torch.no_grad():
        assert found.tolist() == [without_cache(net, [3, 4, 5], 40, allowed)]
    assert found.min() > 1


def test_a_prompt_longer_than_the_positions_counts_with_its_end() -> None:
    net, allowed, greedy = gpt(), torch.ones(20, dtype=torch.bool), Sampling(0, 0, 1.0)
    prompt = torch.randint(0, 20, (1, 30))
    (whole, end) = (continued(net, one, 1, greedy, torch.Generator(), allowed) for one in (prompt, prompt[:, -12:]))
    assert torch.equal(whole, end)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    net = gpt(in_shape=[1])
    allowed = torch.arange(20) > 1
    with torch.no_grad():
        logits = net(torch.tensor([[3]]))[0, 0].masked_fill(~allowed, -torch.inf)
    prompts = torch.full((20_000, 1), 3)
    drawn = continued(net, prompts, 1, Sampling(1.0, 0, 1.0), torch.Generator().manual_seed(0), allowed)
    shares = torch.bincount(drawn.flatten(), minlength=20) / 20_000
    assert (shares - logits.softmax(0)).abs().max() < 0.01
