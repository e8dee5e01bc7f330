"""Metrics of translations: exact match, token accuracy, BLEU (Papineni et al., 2002) and chrF (Popović, 2015)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from leyden.data.tokens import REPLACEMENT, Tokenizer
from leyden.errors import UserError


class TranslationMetrics(Metric):
    """Counts, and the texts of a split for BLEU and chrF. They do not depend on the number of processes.

    Args:
        length: L, number of symbols of a text.
        end: the symbol that ends a text.
        bleu: whether to compute BLEU and chrF, as sacrebleu does it by default, between 0 and 100.
    """

    counts: Tensor
    found: list[Tensor]
    expected: list[Tensor]

    def __init__(self, length: int, end: int, bleu: bool) -> None:
        super().__init__()
        self.length, self.end, self.bleu = length, end, bleu
        self.tokenizer: Tokenizer | None = None
        self.add_state("counts", torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("found", [], dist_reduce_fx="cat")
        self.add_state("expected", [], dist_reduce_fx="cat")

    def update(self, found: Tensor, taught: Tensor, targets: Tensor) -> None:
        """Add a batch.

        Args:
            found: int64 (B, L), the translations, -1 after their end.
            taught: int64 (B, T), the most likely symbol after the true symbols before it.
            targets: int64 (B, T), the true symbols, -1 after their end.
        """
        counted = targets >= 0
        correct = ((taught == targets) & counted).sum()
        targets = pad(targets, (0, self.length - targets.shape[1]), value=-1)  # (B, L)
        num = torch.full_like(correct, targets.shape[0])
        self.counts += torch.stack([(found == targets).all(1).sum(), correct, num, counted.sum()])
        if self.bleu:
            self.found.append(found)
            self.expected.append(targets)

    def compute(self) -> dict[str, Tensor]:
        exact, correct, texts, symbols = self.counts
        values = {"exact": exact / texts, "acc": correct / symbols}
        if self.bleu:
            assert self.tokenizer is not None, "call use_tokenizer first"
            sides = (dim_zero_cat(side).tolist() for side in (self.found, self.expected))
            translations, references = ([text_of(row, self.end, self.tokenizer) for row in side] for side in sides)
            values |= {name: torch.tensor(value) for name, value in scores(translations, references).items()}
        return values


def text_of(symbols: Sequence[int], end: int, tokenizer: Tokenizer) -> str:
    """Return the text of symbols, without the end symbol and what follows it."""
    return tokenizer.decode([symbol for symbol in symbols if 0 <= symbol < min(end, tokenizer.size)])


def scores(translations: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Return BLEU and chrF of a corpus, 0 to 100. An unknown word of a translation matches none of its reference."""
    library = bleu_library()
    known = [text.replace(REPLACEMENT, "") for text in translations]
    metrics = {"bleu": library.metrics.BLEU(), "chrf": library.metrics.CHRF()}
    return {name: float(metric.corpus_score(known, [references]).score) for name, metric in metrics.items()}


def sentence_scores(translations: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return chrF of each translation, 0 to 100."""
    metric = bleu_library().metrics.CHRF()
    pairs = zip(translations, references, strict=True)
    return [float(metric.sentence_score(one, [other]).score) for one, other in pairs]


def bleu_library() -> Any:
    """Return the package ``sacrebleu``.

    Raises:
        UserError: it is not installed.
    """
    try:
        import sacrebleu.metrics
    except ImportError as error:
        raise UserError(
            'task.bleu: needs the package sacrebleu: pip install -e ".[translation]", or leave out BLEU and chrF: '
            "task.bleu=false"
        ) from error
    return sacrebleu
