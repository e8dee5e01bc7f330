"""What the nets share that write a sequence of symbols: they encode the input, then predict one symbol after the other.

In training, the symbols before each position are the true ones (teacher forcing, Williams and Zipser, 1989).
Otherwise they are the net's own predictions. `leyden.nets.search` looks for the most likely sequence.

    B  batch          L  symbols at most, `length`      D  width of a symbol
    T  symbols        V  size of the alphabet
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

Tensors = tuple[Tensor, ...]  # the first axis of each is the batch


class SequenceModel(nn.Module, ABC):
    """A net that predicts symbols one after the other: inputs (B, ...) → logits (B, L · V).

    The last symbol of the alphabet ends a sequence; all symbols after it are ignored. It also stands before the first
    symbol.

    Args:
        num_outputs: L · V.
        length: L; with 1, all outputs are computed at once, as in any other net.

    Raises:
        ValueError: the outputs cannot be divided among the symbols.
    """

    def __init__(self, num_outputs: int, length: int) -> None:
        super().__init__()
        if length < 1 or num_outputs % length:
            raise ValueError(f"length: got {length}, must divide the number of outputs, {num_outputs}")
        self.length, self.num_symbols = length, num_outputs // length
        self.end = self.num_symbols - 1

    @abstractmethod
    def encode(self, x: Tensor) -> Tensors:
        """Return what the decoder reads of the inputs."""

    @abstractmethod
    def decode(self, before: Tensor, memory: Tensors) -> Tensor:
        """Return the logits of the next symbol after each symbol, (B, T, V).

        Args:
            before: int64 (B, T), the end symbol and then the true symbols.
            memory: what `encode` returned.
        """

    @abstractmethod
    def begin(self, memory: Tensors) -> Tensors:
        """Return the state before the first symbol: what `encode` returned, and what a step needs from earlier ones."""

    @abstractmethod
    def step(self, symbols: Tensor, state: Tensors) -> tuple[Tensor, Tensors]:
        """Return the logits of the next symbol, (B, V), and the next state. `symbols`, int64 (B,), are the last ones.

        The logits are those of `decode`, but the earlier symbols are not computed again.
        """

    @abstractmethod
    def attention(self, x: Tensor, symbols: Tensor) -> Tensor:
        """Return the weights with which each symbol is predicted from the parts of the input, (B, T, S), for plots.

        Rows sum to 1. `symbols` are those of `forward`. S is the number of patches, steps or tokens.
        """

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor:
        """Predict the logits of each symbol, (B, T · V), from the symbols before it.

        Args:
            x: the inputs, (B, ...).
            targets: int64 (B, T), the true symbols, negative after the end of a sequence. Each symbol is predicted
                from the true symbols before it. None: L symbols are predicted, each from the most likely symbols before
                it (greedy decoding).
        """
        memory = self.encode(x)
        symbols = self._most_likely(memory, x.shape[0]) if targets is None else targets
        return self.decode(self.shifted(symbols), memory).flatten(1)

    def shifted(self, symbols: Tensor) -> Tensor:
        """Return the symbol before each symbol, int64 (B, T); the end symbol stands for what is not there."""
        before = symbols[:, :-1]
        return torch.cat((torch.full_like(symbols[:, :1], self.end), before.where(before >= 0, self.end)), dim=1)

    @torch.no_grad()
    def _most_likely(self, memory: Tensors, num: int) -> Tensor:
        """Return L symbols for each of `num` samples, the most likely ones; the last one is not computed."""
        symbols = memory[0].new_full((num, 1), self.end, dtype=torch.int64)
        state, found = self.begin(memory), []
        for _ in range(self.length - 1):
            logits, state = self.step(symbols[:, 0], state)
            symbols = logits.argmax(1, keepdim=True)
            found.append(symbols)
        return torch.cat([*found, torch.zeros_like(symbols)], dim=1)
