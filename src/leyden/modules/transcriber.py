"""Transcription: the text in an image, symbol by symbol, with any net that returns logits for each position."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import Metric, MetricCollection

from leyden.data.loaders import Batch
from leyden.modules.predictions import Prediction
from leyden.modules.supervised import SupervisedModule
from leyden.nets.ensemble import Combine, mean_symbol_probabilities
from leyden.nets.sequence_model import SequenceModel
from leyden.optim import OptimizerFactory, SchedulerFactory


class Transcriber(SupervisedModule):
    """Predicts the text in an image.

    A `SequenceModel` is trained with teacher forcing: it gets the true symbols before each position. It is evaluated
    by greedy decoding. Other nets predict all positions independently.

    Logs ``train/loss``, and for ``val`` and ``test`` the loss, exact match and accuracy. The loss is minus the
    log-likelihood of a text, in nats. Exact match is the fraction of texts with all symbols correct. Accuracy is the
    fraction of correct symbols, the end symbol included.

    Args:
        net: float (B, ...) → logits (B, L · V).
        optimizer, scheduler, objective: see `BaseModule`.
        num_symbols: V, size of the alphabet; its last symbol ends a text.
        length: L, length of the longest text, the end symbol included.
        label_smoothing: fraction of the target that is spread evenly over all symbols (Szegedy et al., 2016), at
            least 0 and below 1.

    Raises:
        ValueError: a number is out of its range.
    """

    target_kind = "symbols"
    validation_metrics = ("loss", "exact", "acc")

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        num_symbols: int,
        length: int,
        label_smoothing: float,
    ) -> None:
        for name, value, least in (("num_symbols", num_symbols, 2), ("length", length, 1)):
            if value < least:
                raise ValueError(f"{name}: got {value}, must be at least {least}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: got {label_smoothing}, must be at least 0 and below 1")
        super().__init__(net, optimizer, scheduler, objective, MetricCollection({"text": TextMetrics(num_symbols)}))
        self.num_symbols, self.length, self.label_smoothing = num_symbols, length, label_smoothing
        self.teacher_forcing = isinstance(net, SequenceModel)
        self.symbols = [str(number) for number in range(num_symbols - 1)]  # without the end symbol

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch, (): logits (B, L · V), targets int64 (B, L), negative after the end."""
        logits, smoothing = logits.view(-1, self.num_symbols), self.label_smoothing  # (B · L, V)
        total = cross_entropy(logits, targets.flatten(), ignore_index=-1, label_smoothing=smoothing, reduction="sum")
        return total / len(targets)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, targets = batch
        logits = self.net(inputs, targets) if self.teacher_forcing else self.net(inputs)  # (B, L · V)
        loss = self.loss(logits, targets)
        self.train_means.add(len(targets), loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch, self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch, self.test_metrics)

    def evaluate(self, batch: Batch, metrics: MetricCollection) -> None:
        """Add a batch to the loss (with teacher forcing) and to the metrics of its split (without)."""
        inputs, targets = batch
        logits = self(inputs)
        taught = self.net(inputs, targets) if self.teacher_forcing else logits
        self.eval_means.add(len(targets), self.loss(taught, targets))
        metrics.update(logits, targets)

    def combiner(self) -> Combine:
        return partial(mean_symbol_probabilities, num_symbols=self.num_symbols)

    def use_classes(self, classes: Sequence[str] | None) -> None:
        if classes is not None:
            self.symbols = list(classes)

    def named_outputs(self, outputs: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """Return the symbols of each text, int64 (B, L), its end symbol, then -1; and all probabilities, (B, L, V)."""
        probabilities = outputs.float().view(-1, self.length, self.num_symbols).softmax(2)
        return {"symbols": most_likely(outputs, self.num_symbols), "probabilities": probabilities}

    def predictions(self, named: Mapping[str, Tensor]) -> list[Prediction]:
        """Return the text in each image; its probability is the product of those of its symbols, the end included."""
        symbols, best = named["symbols"], named["probabilities"].amax(2)  # (B, L)
        likelihoods = best.where(symbols >= 0, 1.0).prod(1).tolist()
        texts = [self.text(row) for row in symbols.tolist()]
        return [Prediction(text, p, ((text, p),)) for text, p in zip(texts, likelihoods, strict=True)]

    def text(self, symbols: Sequence[int]) -> str:
        """Return the text of symbols, without its end symbol and the padding after it."""
        return "".join(self.symbols[symbol] for symbol in symbols if 0 <= symbol < self.num_symbols - 1)


class TextMetrics(Metric):
    """Exact match and accuracy, from integer counts: they do not depend on the number of processes."""

    counts: Tensor

    def __init__(self, num_symbols: int) -> None:
        super().__init__()
        self.num_symbols = num_symbols
        self.add_state("counts", torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Add a batch of logits, float (B, L · V), and targets, int64 (B, L)."""
        correct, counted = most_likely(logits, self.num_symbols) == targets, targets >= 0  # (B, L)
        texts = counted[:, 0].sum()
        self.counts += torch.stack([correct.all(1).sum(), (correct & counted).sum(), texts, counted.sum()])

    def compute(self) -> dict[str, Tensor]:
        exact, correct, texts, symbols = self.counts
        return {"exact": exact / texts, "acc": correct / symbols}


def most_likely(logits: Tensor, num_symbols: int) -> Tensor:
    """Logits, float (B, L · V) → the most likely symbols, int64 (B, L), and -1 after the first end symbol."""
    symbols = logits.view(logits.shape[0], -1, num_symbols).argmax(2)  # not len(): exports would fix the batch
    ends = symbols == num_symbols - 1
    ends_before = ends.cumsum(1) - ends.long()  # number of end symbols before each position
    return symbols.where(ends_before == 0, -1)
