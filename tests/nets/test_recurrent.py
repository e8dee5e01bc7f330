"""Recurrent nets."""

import pytest
import torch

from leyden.nets.recurrent import CELLS, steps
from tests.nets.defaults import net


def num_weights(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize(("cell", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_weights(cell: str, gates: int) -> None:
    one = gates * (28 * 128 + 128 * 128 + 2 * 128)  # from the input, from the state, torch's two biases
    two = gates * (128 * 128 + 128 * 128 + 2 * 128)
    assert num_weights(net("lstm", (1, 28, 28), 10, cell=cell)) == one + 128 * 10 + 10
    assert num_weights(net("lstm", (1, 28, 28), 10, cell=cell, num_layers=2)) == one + two + 128 * 10 + 10


def test_an_image_is_read_row_by_row_from_the_top() -> None:
    images = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)
    rows = steps(images)
    assert rows.shape == (2, 4, 15)
    assert torch.equal(rows[1, 2], torch.cat([images[1, channel, 2] for channel in range(3)]))


@pytest.mark.parametrize("cell", CELLS)
def test_an_image_is_the_series_of_its_rows(cell: str) -> None:
    built, images = net("lstm", (1, 6, 4), 3, cell=cell, hidden=8), torch.randn(5, 1, 6, 4)
    assert torch.equal(built(images), built(images[:, 0]))


def test_an_rnn_is_its_formula() -> None:
    built, series = net("rnn", (3, 2), 4, hidden=5), torch.randn(7, 3, 2)
    weights = dict(built.layers.named_parameters())
    state = torch.zeros(7, 5)
    for step in range(3):
        state = torch.tanh(series[:, step] @ weights["weight_ih_l0"].T + state @ weights["weight_hh_l0"].T)
    assert built(series).allclose(built.head(state), atol=1e-6)


def test_both_directions_read_to_their_ends() -> None:
    built, series = net("gru", (6, 2), 3, hidden=8, bidirectional=True), torch.randn(4, 6, 2)
    states, _ = built.layers(series)  # (B, T, both directions' states at each step)
    ends = torch.cat((states[:, -1, :8], states[:, 0, 8:]), dim=1)
    assert built(series).allclose(built.head(ends), atol=1e-6)


def test_first_weights() -> None:
    layers = net("lstm", (6, 2), 3, hidden=8).layers
    for gate in layers.weight_hh_l0.split(8):
        assert (gate @ gate.T).allclose(torch.eye(8), atol=1e-5)
    bias = layers.bias_ih_l0 + layers.bias_hh_l0
    assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16


def test_dropout_between_layers_and_before_the_head() -> None:
    built, series = net("lstm", (6, 2), 3, hidden=8, dropout=0.5), torch.randn(4, 6, 2)
    assert not torch.equal(built(series), built(series))
    assert torch.equal(built.eval()(series), built(series))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_layers_with_dropout_have_the_weights_of_layers_without(cell: str, bidirectional: bool) -> None:
    """Old run folders have the weights of one torch module with all layers."""
    sizes = {"cell": cell, "hidden": 8, "num_layers": 3, "bidirectional": bidirectional}
    built = []
    for dropout in (0.0, 0.5):
        torch.manual_seed(0)
        built.append(net("lstm", (6, 2), 3, dropout=dropout, **sizes).eval())
    plain, with_dropout = built
    state = with_dropout.state_dict()
    assert state.keys() == plain.state_dict().keys()
    assert all(torch.equal(state[name], weight) for name, weight in plain.state_dict().items())
    shapes = [[tuple(weight.shape) for weight in one.parameters()] for one in built]
    assert shapes[0] == shapes[1], "the state of an optimizer is stored by position"
    series = torch.randn(4, 6, 2)
    assert plain(series).allclose(with_dropout(series), atol=1e-6)
    other = net("lstm", (6, 2), 3, dropout=0.5, **sizes).eval()
    other.load_state_dict(plain.state_dict())
    assert plain(series).allclose(other(series), atol=1e-6)


def test_dropout_acts_between_layers() -> None:
    built, series = net("lstm", (6, 2), 3, hidden=8, num_layers=2, dropout=0.5), torch.randn(4, 6, 2)
    built.dropout.p = 0.0  # the one before the head
    assert not torch.equal(built(series), built(series))
    assert all(layer.dropout == 0 for layer in built.modules() if isinstance(layer, torch.nn.RNNBase)), "no cuDNN state"


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("pool", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_texts_are_read_up_to_their_ends(cell: str, pool: str, bidirectional: bool) -> None:
    sizes = {"cell": cell, "pool": pool, "bidirectional": bidirectional, "num_layers": 2, "dropout": 0.5}
    built = net("lstm", (9,), 3, hidden=4, vocab_size=20, embedding=6, **sizes).eval()
    texts = torch.tensor([[5, 9, 2, 7], [3, 8, 0, 0], [4, 0, 0, 0]])
    alone = torch.cat([built(text[text != 0][None]) for text in texts])
    assert built(texts).allclose(alone, atol=1e-6)
    assert built(torch.nn.functional.pad(texts, (0, 5))).allclose(alone, atol=1e-6)


def test_both_directions_of_a_text_are_those_of_torch() -> None:
    built = net("gru", (9,), 3, hidden=4, vocab_size=20, embedding=6, bidirectional=True).eval()
    plain = torch.nn.GRU(6, 4, batch_first=True, bidirectional=True)
    ahead, back = built.layers.forwards[0], built.layers.backwards[0]
    state = dict(ahead.state_dict()) | {f"{name}_reverse": weight for name, weight in back.state_dict().items()}
    plain.load_state_dict(state)
    text = torch.tensor([[5, 9, 2]])
    states, last = plain(built.embedding(text))
    assert built.layers(built.embedding(text), text != 0).allclose(states, atol=1e-6)
    assert built(text).allclose(built.head(last.transpose(0, 1).flatten(1)), atol=1e-6)
