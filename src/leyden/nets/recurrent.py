"""Recurrent nets: Elman's (1990), LSTM (Hochreiter and Schmidhuber, 1997) and GRU (Cho et al., 2014).

A series is read step by step. An image is read row by row from the top: each row is a step (Le et al., 2015, read
images pixel by pixel). The outputs are computed from the state after the last step. A bidirectional net (Schuster and
Paliwal, 1997) concatenates the last states of both directions.

The cells are those of torch, which cuDNN runs. The initialisation differs: recurrent weights are orthogonal (Saxe et
al., 2014), and the forget gate starts open (Jozefowicz et al., 2015), so that early steps are not forgotten before the
net has learned anything.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Cell = Literal["rnn", "lstm", "gru"]
CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """Recurrent net: float (B, C, H, W) or (B, T, F) → outputs (B, num_outputs).

    Args:
        in_shape: (C, H, W) of an image, read as H steps of C * W values; or (T, F), T steps of F values.
        num_outputs: number of outputs.
        cell: rnn (with tanh), lstm or gru.
        hidden: size of the state.
        num_layers: number of layers; each reads the states of the one below.
        bidirectional: whether a second net reads from the end to the start.
        dropout: probability of zeroing a value between layers and before the output layer.

    Raises:
        ValueError: samples are neither images nor series, or a size or a probability is out of its range.
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
    ) -> None:
        super().__init__()
        if len(in_shape) not in (2, 3):
            raise ValueError(
                f"in_shape: got {list(in_shape)}, a recurrent net needs images [channels, height, width] or series "
                "[steps, features]"
            )
        if hidden < 1:
            raise ValueError(f"hidden: got {hidden}, must be at least 1")
        if num_layers < 1:
            raise ValueError(f"num_layers: got {num_layers}, must be at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: got {dropout}, must be at least 0 and below 1")
        features = in_shape[0] * in_shape[2] if len(in_shape) == 3 else in_shape[1]
        self.num_directions = 2 if bidirectional else 1
        self.layers = CELLS[cell](
            features,
            hidden,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,  # torch's acts between layers, and warns if there is one layer
            bidirectional=bidirectional,
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.num_directions * hidden, num_outputs)
        initialise(self.layers)

    def forward(self, x: Tensor) -> Tensor:
        _, state = self.layers(steps(x))
        last = state[0] if isinstance(state, tuple) else state  # (L * directions, B, hidden); an lstm also has cells
        top = last[-self.num_directions :].transpose(0, 1).flatten(1)  # (B, directions * hidden)
        outputs: Tensor = self.head(self.dropout(top))  # (B, num_outputs)
        return outputs


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
