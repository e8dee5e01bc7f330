"""RNN encoder-decoder with attention (Bahdanau et al., 2015), which reads a text or an image and writes symbols.

A bidirectional GRU encodes the input. Its states at each position are the annotations. The decoder is another GRU.
Before each symbol, a small net compares its last state with all annotations (additive attention); their weighted mean
is the context, from which the state and the symbol are computed.

Differences to the paper: a symbol is computed from the new state instead of the last one, weights are initialised as in
`leyden.nets.recurrent`, and dropout is optional. An image is read column by column from the left.

    B  batch          S  positions of the input      D  size of an embedding
    T  symbols        V  size of the alphabet        H  size of a state
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leyden.nets.embedding import TokenEmbedding, mask_of
from leyden.nets.layers import check_shape
from leyden.nets.recurrent import BothDirections, initialise
from leyden.nets.sequence_model import SequenceModel, Tensors


class Bahdanau(SequenceModel):
    """Sequence model: a text, an image or a series → logits (B, L · V) of L symbols.

    The inputs are token ids, int64 (B, T), T up to `max_tokens`, in which 0 is padding; float (B, C, height, width); or
    float (B, steps, F).

    Args:
        in_shape: (max_tokens,) of a text, (C, height, width) of an image or (steps, F) of a series.
        num_outputs: L · V.
        length: L, see `SequenceModel`.
        vocab_size: number of different tokens of a text. 0: the inputs are no texts.
        embedding: D, size of the embedding of a token and of a symbol.
        hidden: H, size of the state of each direction of the encoder, of the decoder, and of the net that compares.
        dropout: probability of zeroing a value of an embedding, or one from which a symbol is computed.

    Raises:
        ValueError: samples are neither texts nor images nor series, or a size is out of its range.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        length: int,
        vocab_size: int,
        embedding: int,
        hidden: int,
        dropout: float,
    ) -> None:
        check_shape(in_shape, num_outputs)
        if len(in_shape) != 1 if vocab_size else len(in_shape) not in (2, 3):
            wanted = (
                "a text [max_tokens]" if vocab_size else "images [channels, height, width] or series [steps, features]"
            )
            raise ValueError(f"in_shape: got {list(in_shape)}, an RNN encoder-decoder needs {wanted}")
        for name, value in (("embedding", embedding), ("hidden", hidden)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, must be at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: got {dropout}, must be at least 0 and below 1")
        super().__init__(num_outputs, length)
        features = embedding if vocab_size else math.prod(in_shape[:2]) if len(in_shape) == 3 else in_shape[1]
        self.words = TokenEmbedding(vocab_size, embedding) if vocab_size else None
        self.encoder = BothDirections("gru", features, hidden, num_layers=1, dropout=0.0)
        for layer in (*self.encoder.forwards, *self.encoder.backwards):
            assert isinstance(layer, nn.GRU)
            initialise(layer)
        self.start = nn.Linear(hidden, hidden)
        self.symbols = nn.Embedding(self.num_symbols, embedding)
        self.compare_state, self.compare_input = nn.Linear(hidden, hidden, bias=False), nn.Linear(2 * hidden, hidden)
        self.compare = nn.Linear(hidden, 1, bias=False)
        self.cell = nn.GRUCell(embedding + 2 * hidden, hidden)
        for gate in self.cell.weight_hh.data.view(3, hidden, hidden):
            nn.init.orthogonal_(gate)
        self.maxout = nn.Linear(hidden + embedding + 2 * hidden, 2 * hidden)
        self.head = nn.Linear(hidden, self.num_symbols)
        self.dropout = nn.Dropout(dropout)

    def encode(self, x: Tensor) -> Tensors:
        """Return annotations, (B, S, 2 H), their part of comparisons, (B, S, H), and what is no padding, (B, S)."""
        if self.words is None:
            x = x.flatten(1, 2).transpose(1, 2) if x.dim() == 4 else x  # an image: its columns, (B, width, C · height)
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        else:
            mask = mask_of(x)
            x = self.dropout(self.words(x))  # (B, S, D)
        annotations = self.encoder(x, mask)
        return annotations, self.compare_input(annotations), mask

    def begin(self, memory: Tensors) -> Tensors:
        """Return the first state, (B, H), which is computed from the whole input read backwards; and `memory`."""
        annotations = memory[0]
        return torch.tanh(self.start(annotations[:, 0, annotations.shape[2] // 2 :])), *memory

    def decode(self, before: Tensor, memory: Tensors) -> Tensor:
        hidden, *_ = self.begin(memory)
        embedded = self.dropout(self.symbols(before))  # (B, T, D)
        states, contexts = [], []
        for symbol in embedded.unbind(1):
            hidden, context, _ = self._advance(symbol, hidden, memory)
            states.append(hidden)
            contexts.append(context)
        return self._logits(torch.stack(states, 1), embedded, torch.stack(contexts, 1))

    def step(self, symbols: Tensor, state: Tensors) -> tuple[Tensor, Tensors]:
        embedded = self.dropout(self.symbols(symbols))  # (B, D)
        hidden, context, _ = self._advance(embedded, state[0], state[1:])
        return self._logits(hidden, embedded, context), (hidden, *state[1:])

    def _advance(self, symbol: Tensor, hidden: Tensor, memory: Tensors) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next state, (B, H), its context, (B, 2 H), and the attention weights, (B, S).

        Args:
            symbol: embedding of the last symbol, (B, D).
            hidden: the state before, (B, H).
            memory: see `encode`.
        """
        annotations, compared, mask = memory
        scores = self.compare(torch.tanh(self.compare_state(hidden)[:, None] + compared))[..., 0]  # (B, S)
        weights = scores.masked_fill(~mask, -math.inf).softmax(1)
        context = (weights[:, None] @ annotations)[:, 0]  # (B, 2 H)
        return self.cell(torch.cat((symbol, context), 1), hidden), context, weights

    def _logits(self, hidden: Tensor, symbol: Tensor, context: Tensor) -> Tensor:
        """Return the logits of the next symbol, (..., V), with a layer of pairs of which the larger value is kept."""
        pairs = self.maxout(torch.cat((hidden, symbol, context), -1)).unflatten(-1, (-1, 2))  # (..., H, 2)
        logits: Tensor = self.head(self.dropout(pairs.amax(-1)))
        return logits

    @torch.no_grad()
    def attention(self, x: Tensor, symbols: Tensor) -> Tensor:
        memory = self.encode(x)
        hidden, *_ = self.begin(memory)
        weights = []
        for symbol in self.symbols(self.shifted(symbols)).unbind(1):
            hidden, _, attended = self._advance(symbol, hidden, memory)
            weights.append(attended)
        return torch.stack(weights, 1)
