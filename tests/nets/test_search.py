"""Greedy search and beam search, compared with all sequences of a tiny alphabet."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from leyden.nets.search import beam_search, greedy
from tests.nets.defaults import net

LENGTH, SYMBOLS = 4, 4  # three symbols and the end
SMALL: dict[str, dict[str, Any]] = {
    "seq2seq": {"dim": 16, "num_layers": 2, "positions": "sinusoidal"},
    "seq2seq_rnn": {"embedding": 8, "hidden": 16},
}
both = pytest.mark.parametrize("model", sorted(SMALL))


def built(model: str) -> Any:
    """A net with large weights, so that its outputs are far from even."""
    torch.manual_seed(3)
    found = net(model, (7,), LENGTH * SYMBOLS, length=LENGTH, vocab_size=9, **SMALL[model]).eval()
    with torch.no_grad():
        for weight in found.parameters():
            weight.mul_(1.7)
    return found


def texts() -> Tensor:
    """Five texts with up to seven tokens."""
    ids = torch.randint(1, 9, (5, 7), generator=torch.Generator().manual_seed(0))
    ids[1, 3:] = ids[3, 5:] = 0
    return ids


def score(model: Any, text: Tensor, symbols: tuple[int, ...], penalty: float) -> float:
    logits = model(text[None], torch.tensor([symbols])).view(len(symbols), SYMBOLS)
    total = sum(row.log_softmax(0)[symbol] for row, symbol in zip(logits, symbols, strict=True))
    return float(total) / len(symbols) ** penalty


def best_of_all(model: Any, text: Tensor, penalty: float) -> list[int]:
    """The best of all sequences that end, or have the largest length."""
    end = SYMBOLS - 1
    endings = [(*before, end) for num in range(LENGTH) for before in itertools.product(range(end), repeat=num)]
    full = itertools.product(range(end), repeat=LENGTH)
    best = max([*endings, *full], key=lambda symbols: score(model, text, symbols, penalty))
    return [*best, *[-1] * (LENGTH - len(best))]


@pytest.mark.parametrize(("model", "penalty"), [("seq2seq", 1.0), ("seq2seq_rnn", 0.0)])
@torch.no_grad()
def test_a_wide_beam_finds_the_best_of_all_sequences(model: str, penalty: float) -> None:
    one, some = built(model), texts()[:2]
    found = beam_search(one, some, SYMBOLS**LENGTH, penalty)
    assert found.tolist() == [best_of_all(one, text, penalty) for text in some]


@both
@torch.no_grad()
def test_greedy_search_is_a_beam_of_one_and_the_forward_pass(model: str) -> None:
    found = greedy(built(model), texts())
    logits = built(model)(texts()).view(5, LENGTH, SYMBOLS)
    chosen = logits.argmax(2)
    ended = (chosen == SYMBOLS - 1).cumsum(1) - (chosen == SYMBOLS - 1).long()
    assert torch.equal(found, chosen.where(ended == 0, -1))


@both
@torch.no_grad()
def test_padding_changes_nothing(model: str) -> None:
    short, ids = texts()[1:2, :3], texts()[1:2]
    targets = torch.tensor([[0, 2, 1, 3]])
    assert built(model)(short, targets).allclose(built(model)(ids, targets), atol=1e-6)
    assert torch.equal(greedy(built(model), short), greedy(built(model), ids))
    weights = built(model).attention(ids, targets)
    assert weights.shape == (1, 4, 7)
    assert weights.sum(2).allclose(torch.ones(1, 4))
    assert (weights[..., 3:] == 0).all()


@both
@torch.no_grad()
def test_steps_equal_the_pass_over_all_positions(model: str) -> None:
    one = built(model)
    targets = torch.tensor([[0, 2, 1, 3]] * 5)
    state = one.begin(one.encode(texts()))
    expected = one(texts(), targets).view(5, LENGTH, SYMBOLS)
    for position, before in enumerate(one.shifted(targets).unbind(1)):
        logits, state = one.step(before, state)
        assert logits.allclose(expected[:, position], atol=1e-5)
