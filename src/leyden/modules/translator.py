"""Translation: a text from another text, token by token, with a net that encodes one and writes the other."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from torchmetrics import MetricCollection

from leyden.data.datamodule import DataFacts
from leyden.data.loaders import Batch
from leyden.data.tokens import PADDING, Tokenizer
from leyden.errors import UserError
from leyden.metrics.translations import TranslationMetrics, bleu_library, text_of
from leyden.modules.attention_plot import attention_plot
from leyden.modules.predictions import Prediction
from leyden.modules.supervised import SupervisedModule
from leyden.nets.search import beam_search, greedy
from leyden.nets.sequence_model import SequenceModel
from leyden.optim import OptimizerFactory, SchedulerFactory

NUM_EXAMPLES = 3  # texts that are shown after each validation

Example = TypeVar("Example")


class Translator(SupervisedModule):
    """Translates texts. It is trained with teacher forcing: each symbol is predicted from the true ones before it.

    Logs ``train/loss``, and for ``val`` and ``test`` the loss, exact match, accuracy, BLEU and chrF. The loss is minus
    the log-likelihood of a symbol, in nats, and accuracy the fraction of correct symbols; both with teacher forcing.
    Exact match is the fraction of translations with all symbols correct. The validation uses greedy search, the test
    and predictions beam search.

    Args:
        net: int64 (B, S), int64 (B, T) → logits (B, T · V).
        optimizer, scheduler, objective: see `BaseModule`.
        in_shape: (S,), largest number of tokens of a source.
        num_symbols: V, number of tokens and the end symbol, which is the last one.
        length: L, length of the longest translation in symbols, the end symbol included.
        label_smoothing: fraction of the target that is spread evenly over all symbols (Szegedy et al., 2016), at
            least 0 and below 1.
        bleu: whether to compute BLEU and chrF, which need sacrebleu.
        beam, length_penalty: see `leyden.nets.search.beam_search`; a beam of 1 is greedy search.

    Raises:
        ValueError: a number is out of its range.
        UserError: the net writes no sequences, or sacrebleu is missing.
    """

    target_kind = "symbols"
    validation_metrics: tuple[str, ...] = ("loss", "exact", "acc")

    net: SequenceModel

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        in_shape: Sequence[int],
        num_symbols: int,
        length: int,
        label_smoothing: float,
        bleu: bool,
        beam: int,
        length_penalty: float,
    ) -> None:
        if not isinstance(net, SequenceModel):
            raise UserError(
                f"model.in_shape: got {list(in_shape)}, a text to translate, for which a {type(net).__name__.lower()} "
                "has no outputs; use model=seq2seq or model=seq2seq_rnn"
            )
        for name, value, least in (("num_symbols", num_symbols, 2), ("length", length, 1), ("beam", beam, 1)):
            if value < least:
                raise ValueError(f"{name}: got {value}, must be at least {least}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: got {label_smoothing}, must be at least 0 and below 1")
        if not 0 <= length_penalty <= 10:
            raise ValueError(f"length_penalty: got {length_penalty}, must be between 0 and 10")
        if bleu:
            bleu_library()
            self.validation_metrics = ("loss", "exact", "acc", "bleu", "chrf")
        metrics = MetricCollection({"text": TranslationMetrics(length, num_symbols - 1, bleu)})
        super().__init__(net, optimizer, scheduler, objective, metrics)
        self.num_symbols, self.length, self.label_smoothing = num_symbols, length, label_smoothing
        self.bleu, self.beam, self.length_penalty = bleu, beam, length_penalty
        self.tokenizer: Tokenizer | None = None
        self.examples: list[tuple[Tensor, Tensor]] = []  # of the last validation: texts (S,), true symbols (T,)

    def forward(self, inputs: Tensor, beam: int | None = None) -> Tensor:
        """Translate: token ids (B, S) → symbols, int64 (B, L), with the end symbol, and -1 after it."""
        beam = self.beam if beam is None else beam
        if beam == 1:
            return greedy(self.net, inputs)
        return beam_search(self.net, inputs, beam, self.length_penalty)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a symbol, (): logits (B, T, V), targets int64 (B, T), negative after the end."""
        logits, smoothing = logits.flatten(0, 1), self.label_smoothing  # (B · T, V)
        return cross_entropy(logits, targets.flatten(), ignore_index=-1, label_smoothing=smoothing)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, targets = batch
        logits = self.net(inputs, targets).unflatten(1, (*targets.shape[1:], self.num_symbols))  # (B, T, V)
        loss = self.loss(logits, targets)
        self.train_means.add((targets >= 0).sum(), loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        if batch_idx == 0:
            self.examples.clear()
        inputs, targets = batch
        self.examples += [(inputs[row], targets[row]) for row in spread(range(len(inputs)))]
        self.evaluate(batch, self.val_metrics, beam=1)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch, self.test_metrics, self.beam)

    def evaluate(self, batch: Batch, metrics: MetricCollection, beam: int) -> None:
        """Add a batch to the loss and accuracy (with teacher forcing) and to the metrics of its translations."""
        inputs, targets = batch
        logits = self.net(inputs, targets).unflatten(1, (*targets.shape[1:], self.num_symbols))  # (B, T, V)
        self.eval_means.add((targets >= 0).sum(), self.loss(logits, targets))
        metrics.update(self(inputs, beam=beam), logits.argmax(2), targets)

    def use_facts(self, facts: DataFacts) -> None:
        self.use_tokenizer(facts.tokenizer)

    def use_tokenizer(self, tokenizer: Tokenizer | None) -> None:
        self.tokenizer = tokenizer
        for metrics in (self.val_metrics, self.test_metrics):
            metric = metrics["text"]
            assert isinstance(metric, TranslationMetrics)
            metric.tokenizer = tokenizer

    def named_outputs(self, outputs: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """Return the symbols of each translation, int64 (B, L), its end symbol, then -1."""
        return {"symbols": outputs.long()}

    def predictions(self, named: Mapping[str, Tensor]) -> list[Prediction]:
        """Return the translations."""
        return [Prediction(self.text(row)) for row in named["symbols"].tolist()]

    def text(self, symbols: Sequence[int]) -> str:
        """Return the text of symbols, without its end symbol and the padding after it."""
        assert self.tokenizer is not None, "call use_tokenizer first"
        return text_of(symbols, self.num_symbols - 1, self.tokenizer)

    def source(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, without the padding after them."""
        assert self.tokenizer is not None, "call use_tokenizer first"
        return self.tokenizer.decode([one for one in ids if one != PADDING])

    def symbol(self, number: int) -> str:
        """Return a symbol as text, to show it."""
        assert self.tokenizer is not None, "call use_tokenizer first"
        if number == self.num_symbols - 1:
            return "end"
        return self.tokenizer.decode([number]) if number < self.tokenizer.size else ""

    def images(self) -> dict[str, Tensor]:
        """Return a plot of the attention of a few texts of the last validation."""
        if not self.examples or self.tokenizer is None:
            return {}
        return {"attention": self.attention_plot(self._example_texts(), beam=1)}

    def texts(self) -> list[str]:
        """Return a few texts of the last validation, each with its translation and the true one."""
        if not self.examples or self.tokenizer is None:
            return []
        translations = self(self._example_texts(), beam=1).tolist()
        return [
            f"{self.source(text.tolist())}\n→ {self.text(row)}\ntrue: {self.text(target.tolist())}"
            for (text, target), row in zip(spread(self.examples), translations, strict=True)
        ]

    def _example_texts(self) -> Tensor:
        """Return the token ids of a few texts of the last validation, int64 (N, S)."""
        return pad_sequence([text for text, _ in spread(self.examples)], batch_first=True, padding_value=PADDING)

    @torch.no_grad()
    def attention_plot(self, inputs: Tensor, beam: int | None = None) -> Tensor:
        """Translate texts, int64 (N, S), and draw their attention: (3, H, W), see `leyden.modules.attention_plot`."""
        assert self.tokenizer is not None, "call use_tokenizer first"
        symbols = self(inputs, beam=beam)  # (N, L)
        weights = self.net.attention(inputs, symbols).float().cpu()  # (N, L, S)
        rows = [[self.symbol(one) for one in row if one >= 0] for row in symbols.tolist()]
        columns = [[self.symbol(one) for one in row if one != PADDING] for row in inputs.tolist()]
        return attention_plot(weights, rows, columns)


def spread(items: Sequence[Example]) -> list[Example]:
    """Return a few items, from different parts of a sequence: texts are sorted by length."""
    num = min(NUM_EXAMPLES, len(items))
    return [items[(2 * number + 1) * len(items) // (2 * num)] for number in range(num)]
