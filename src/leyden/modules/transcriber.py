"""Transcription: the text in an image, symbol by symbol, by any net that gives logits for each place of it."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics import Metric, MetricCollection

from leyden.data.loaders import Batch
from leyden.modules.supervised import SupervisedModule
from leyden.nets.seq2seq import Seq2Seq


class Transcriber(SupervisedModule):
    """Logs ``train/loss`` over the epoch, and loss, exact match and accuracy of ``val`` and ``test``.

    The loss is minus the log-likelihood of a text, in nats; of a net that writes symbol by symbol, given the true
    symbols before each (teacher forcing). What it is judged by it has to write by itself: exact match is the share of
    texts with every symbol right, accuracy the share of symbols that are right at their place, the end included.
    To any other net each place of the text is a question of its own.

    Args: as `SupervisedModule`, and

    num_symbols: V, of which the last one ends a text.
    length: L, of the longest text, the end included.
    label_smoothing: share of the target spread evenly over all symbols (Szegedy et al., 2016), 0 to 1.

    Raises:
        ValueError: `label_smoothing` is out of its range.
    """

    def __init__(self, num_symbols: int, length: int, label_smoothing: float = 0.0, **kwargs: Any) -> None:
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: got {label_smoothing}, must be at least 0 and below 1")
        super().__init__(metrics=MetricCollection({"text": TextMetrics(num_symbols)}), **kwargs)
        self.num_symbols, self.length, self.label_smoothing = num_symbols, length, label_smoothing
        self.is_taught = isinstance(self.net, Seq2Seq)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of logits (B, L · V) and int64 (B, L), below 0 after the end."""
        logits = outputs.view(-1, self.num_symbols)  # (B · L, V)
        smoothing = self.label_smoothing
        total = cross_entropy(logits, targets.flatten(), ignore_index=-1, label_smoothing=smoothing, reduction="sum")
        return total / len(targets)

    def step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if not self.is_taught:
            return super().step(batch)
        outputs = self.net(*batch)
        return self.loss(outputs, batch[1]), outputs

    def evaluate(self, batch: Batch, metrics: MetricCollection) -> Tensor:
        loss, outputs = self.step(batch)
        if self.is_taught:
            outputs = self(batch[0])
        metrics.update(outputs, batch[1])
        self.eval_means.add(len(batch[1]), loss)
        return outputs

    def predict(self, inputs: Tensor) -> Tensor:
        """Float (B, ...) → int64 (B, L): the symbols of each text, its end, then -1."""
        logits: Tensor = self(inputs)
        return written(logits, self.num_symbols)


class TextMetrics(Metric):
    """Counts texts and symbols; as whole numbers, so that the figures do not depend on the number of processes."""

    counts: Tensor

    def __init__(self, num_symbols: int) -> None:
        super().__init__()
        self.num_symbols = num_symbols
        self.add_state("counts", torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Float (B, L · V), int64 (B, L)."""
        right, asked = written(logits, self.num_symbols) == targets, targets >= 0  # (B, L)
        self.counts += torch.stack([right.all(1).sum(), (right & asked).sum(), asked[:, 0].sum(), asked.sum()])

    def compute(self) -> dict[str, Tensor]:
        exact, right, texts, symbols = self.counts
        return {"exact": exact / texts, "acc": right / symbols}


def written(logits: Tensor, num_symbols: int) -> Tensor:
    """The likeliest symbols, and -1 after the first end: float (B, L · V) → int64 (B, L)."""
    symbols = logits.view(len(logits), -1, num_symbols).argmax(2)
    ends = symbols == num_symbols - 1
    after = ends.cumsum(1) - ends.long()  # ends before each place
    return symbols.where(after == 0, -1)
