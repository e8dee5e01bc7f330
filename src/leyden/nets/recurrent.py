"""Recurrent nets: Elman's (1990), LSTM (Hochreiter and Schmidhuber, 1997) and GRU (Cho et al., 2014).

A series is read step by step. An image is read row by row from the top: each row is a step (Le et al., 2015, read
images pixel by pixel). A text is read token by token. The outputs are computed from the state after the last step, or
from all states. A bidirectional net (Schuster and Paliwal, 1997) concatenates the states of both directions.

The cells are those of torch, which cuDNN runs. The initialisation differs: recurrent weights are orthogonal (Saxe et
al., 2014), and the forget gate starts open (Jozefowicz et al., 2015), so that early steps are not forgotten before the
net has learned anything. Dropout between layers is that of `torch.nn.Dropout`, see `LayersWithDropout`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from leyden.nets.embedding import TokenEmbedding, mask_of
from leyden.nets.layers import check_shape
from leyden.nets.pooling import Pool, Pooling, at_last, reversed_within

Cell = Literal["rnn", "lstm", "gru"]
CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """Recurrent net: float (B, C, H, W) or (B, T, F), or token ids int64 (B, T) → outputs (B, num_outputs).

    Args:
        in_shape: (C, H, W) of an image, read as H steps of C * W values; (T, F), T steps of F values; or (T,) tokens.
        num_outputs: number of outputs.
        cell: rnn (with tanh), lstm or gru.
        hidden: size of the state.
        num_layers: number of layers; each reads the states of the one below.
        bidirectional: whether a second net reads from the end to the start.
        dropout: probability of zeroing a value of a token's vector, between layers, or before the output layer.
        pool: what the outputs are computed from: last, the state after the last step; or mean, max or attention of the
            states of all steps, see `Pool`.
        vocab_size: number of token ids; 0: the samples are no texts.
        embedding: size of the vector of a token.
        vectors: file with vectors of words, see `leyden.nets.word_vectors`.

    Raises:
        ValueError: samples are neither images nor series nor texts, or a size or a probability is out of its range.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        cell: Cell,
        hidden: int,
        num_layers: int,
        bidirectional: bool,
        dropout: float,
        pool: Pooling,
        vocab_size: int,
        embedding: int,
        vectors: str | None,
    ) -> None:
        super().__init__()
        check_shape(in_shape, num_outputs)
        if len(in_shape) not in (2, 3) and not (vocab_size and len(in_shape) == 1):
            raise ValueError(
                f"in_shape: got {list(in_shape)}, a recurrent net needs images [channels, height, width], series "
                "[steps, features], or texts"
            )
        for name, size in (("hidden", hidden), ("num_layers", num_layers)):
            if size < 1:
                raise ValueError(f"{name}: got {size}, must be at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: got {dropout}, must be at least 0 and below 1")
        self.embedding = TokenEmbedding(vocab_size, embedding, vectors) if vocab_size else None
        features = embedding if vocab_size else in_shape[0] * in_shape[2] if len(in_shape) == 3 else in_shape[1]
        self.num_directions = 2 if bidirectional else 1
        self.layers: nn.Module = (
            BothDirections(cell, features, hidden, num_layers, dropout)
            if vocab_size and bidirectional
            else layers(cell, features, hidden, num_layers, bidirectional, dropout)
        )
        self.dropout = nn.Dropout(dropout)
        self.pool = Pool(pool, self.num_directions * hidden)
        self.head = nn.Linear(self.num_directions * hidden, num_outputs)
        for module in self.layers.modules():
            if isinstance(module, nn.RNNBase):
                initialise(module)

    def forward(self, x: Tensor) -> Tensor:
        summary = self._read(x) if self.embedding is None else self._read_text(self.embedding(x), mask_of(x))
        outputs: Tensor = self.head(self.dropout(summary))  # (B, num_outputs)
        return outputs

    def _read(self, x: Tensor) -> Tensor:
        """Return the vector from which the outputs are computed, (B, directions * hidden)."""
        states, state = self.layers(steps(x))
        if self.pool.kind != "last":
            pooled: Tensor = self.pool(states)
            return pooled
        last = state[0] if isinstance(state, tuple) else state  # (L * directions, B, hidden); an lstm also has cells
        top: Tensor = last[-self.num_directions :].transpose(0, 1).flatten(1)
        return top

    def _read_text(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """As `_read`: vectors (B, T, F) of tokens, mask bool (B, T), false for padding."""
        vectors = self.dropout(vectors)
        if isinstance(self.layers, BothDirections):
            states = self.layers(vectors, mask)
            return self.layers.last(states, mask) if self.pool.kind == "last" else self.pool(states, mask)
        pooled: Tensor = self.pool(self.layers(vectors)[0], mask)
        return pooled


class BothDirections(nn.Module):
    """Bidirectional layers for texts with padding at the end: float (B, T, F) → states (B, T, 2 * hidden).

    Each text is reversed within its length. So both directions read the padding last, and the states of the tokens do
    not depend on it. torch's packed sequences do the same, but need the lengths on the CPU.

    Args:
        cell, hidden, num_layers, dropout: see `Recurrent`.
        features: F.
    """

    def __init__(self, cell: Cell, features: int, hidden: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.hidden = hidden
        sizes = [features, *[2 * hidden] * (num_layers - 1)]
        self.forwards, self.backwards = (
            nn.ModuleList(CELLS[cell](size, hidden, batch_first=True) for size in sizes) for _ in range(2)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for number, (one, other) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            x = self.dropout(x) if number else x
            ahead, back = one(x)[0], other(reversed_within(x, mask))[0]
            x = torch.cat((ahead, reversed_within(back, mask)), 2)  # (B, T, 2 * hidden)
        return x

    def last(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the state of each direction after its last token, (B, 2 * hidden)."""
        return torch.cat((at_last(states[..., : self.hidden], mask), states[:, 0, self.hidden :]), 1)


class LayersWithDropout(nn.Module):
    """Recurrent layers with dropout between them: float (B, T, F) → the outputs (B, T, ...) and the last layer's state.

    cuDNN's own dropout has a random state that it builds again in every step in which torch's generator is seeded,
    which is every step here; that is very slow. So each layer is a module, with `torch.nn.Dropout` between them.

    The names of the weights in a state dict are those of one torch module with all layers, as without dropout.

    Args:
        cell, hidden, num_layers, bidirectional, dropout: see `Recurrent`.
        features: size of a step.
    """

    def __init__(
        self, cell: Cell, features: int, hidden: int, num_layers: int, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        sizes = [features, *[hidden * (2 if bidirectional else 1)] * (num_layers - 1)]
        self.stack = nn.ModuleList(
            CELLS[cell](size, hidden, batch_first=True, bidirectional=bidirectional) for size in sizes
        )
        self.dropout = nn.Dropout(dropout)
        self.register_state_dict_post_hook(to_flat_names)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(from_flat_names)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        for number, layer in enumerate(self.stack):
            x, state = layer(self.dropout(x) if number else x)
        return x, state


def layers(
    cell: Cell, features: int, hidden: int, num_layers: int, bidirectional: bool, dropout: float
) -> nn.RNNBase | LayersWithDropout:
    """Return recurrent layers, see `LayersWithDropout`; without dropout they are one torch module."""
    if dropout and num_layers > 1:
        return LayersWithDropout(cell, features, hidden, num_layers, bidirectional, dropout)
    return CELLS[cell](features, hidden, num_layers, batch_first=True, bidirectional=bidirectional)


def flat_names(module: nn.Module, prefix: str) -> dict[str, str]:
    """Map nested to flat names of weights: ``stack.1.weight_ih_l0`` → ``weight_ih_l1``, both after `prefix`."""
    names = {}
    for name, _ in module.named_parameters():
        _, number, weight = name.split(".")
        names[prefix + name] = prefix + weight.replace("_l0", f"_l{number}")
    return names


def to_flat_names(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rename the weights in a state dict that is saved."""
    for nested, flat in flat_names(module, prefix).items():
        state_dict[flat] = state_dict.pop(nested)


def from_flat_names(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rename the weights in a state dict that is loaded."""
    for nested, flat in flat_names(module, prefix).items():
        if flat in state_dict:
            state_dict[nested] = state_dict.pop(flat)


def steps(x: Tensor) -> Tensor:
    """Images (B, C, H, W) → (B, H, C * W), one step per row from the top; series (B, T, F) are unchanged."""
    return x.transpose(1, 2).flatten(2) if x.dim() == 4 else x


def initialise(layers: nn.RNNBase) -> None:
    """Set recurrent weights to orthogonal matrices and biases to 0; the bias of an LSTM's forget gate to 1.

    The matrices of all gates are stacked in one weight, (gates * hidden, hidden); each of them is orthogonal.
    """
    size = layers.hidden_size
    with torch.no_grad():
        for name, weight in layers.named_parameters():
            if name.startswith("weight_hh"):
                for gate in weight.view(-1, size, size):
                    nn.init.orthogonal_(gate)
            elif name.startswith("bias"):
                weight.zero_()
                if isinstance(layers, nn.LSTM) and name.startswith("bias_ih"):
                    weight[size : 2 * size] = 1.0  # gates in torch's order: input, forget, cell, output
