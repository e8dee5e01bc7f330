"""Translation: training, metrics, resume, and translations of texts."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import leyden
from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.data.tokenizers import build_tokenizer
from leyden.errors import UserError
from leyden.metrics.translations import TranslationMetrics
from leyden.tools.evaluate import evaluate
from tests.conftest import small

SMALL = ("data=translation", "data.num_pairs=300", "data.cache=null", "trainer=cpu", "trainer.max_epochs=2",
         "trainer.limit_train_batches=4", "data.batch_size=16", "data.max_tokens=24")  # fmt: skip


def test_a_run_resumes_loads_translates_and_is_evaluated(resumed: Callable[..., tuple[Path, Path]]) -> None:
    folder, _ = resumed(*SMALL, *small("seq2seq"), "checkpoint.every_n_steps=2", "task.beam=2")
    assert (folder / "tokenizer.json").exists()
    assert (folder / "attention" / "epoch_0002.png").exists()
    model_of_run = leyden.load(folder)
    found = model_of_run.predict(["5. März 2021", "May 3, 1999"])
    assert all(isinstance(one.prediction, str) for one in found)
    assert model_of_run.predict("May 3, 1999")[0].prediction == found[1].prediction
    reported = evaluate(folder, "test")
    assert set(reported) == {"test/loss", "test/exact", "test/acc"}


def test_metrics() -> None:
    metrics = TranslationMetrics(4, 9, bleu=False)
    found = torch.tensor([[2, 3, 9, -1], [2, 9, -1, -1]])
    targets = torch.tensor([[2, 3, 9], [4, 9, -1]])
    metrics.update(found, torch.tensor([[2, 3, 9], [4, 4, 9]]), targets)
    values = {name: value.item() for name, value in metrics.compute().items()}
    assert values == {"exact": pytest.approx(1 / 2), "acc": pytest.approx(4 / 5)}


def test_bleu_is_that_of_sacrebleu() -> None:
    library = pytest.importorskip("sacrebleu", reason='needs sacrebleu: pip install -e ".[translation]"')
    references = ["a man sits on a red bench .", "two dogs run in the snow ."]
    translations = ["a man sits on the bench .", "two dogs run through the snow ."]
    tokenizer = build_tokenizer("bytes", references, 300)
    metrics = TranslationMetrics(40, 299, bleu=True)
    metrics.tokenizer = tokenizer
    for translation, reference in zip(translations, references, strict=True):
        rows = [[*tokenizer.encode(text), 299] for text in (translation, reference)]
        found, target = (torch.tensor([row + [-1] * (40 - len(row))]) for row in rows)
        metrics.update(found, target, target)
    values = metrics.compute()
    assert values["bleu"].item() == pytest.approx(library.corpus_bleu(translations, [references]).score, rel=1e-6)
    assert values["chrf"].item() == pytest.approx(library.corpus_chrf(translations, [references]).score, rel=1e-6)


def test_other_nets_are_rejected_in_one_line() -> None:
    with pytest.raises(UserError, match=r"^model.in_shape: got \["):
        build_module(compose("model=mlp", "data=translation"))
