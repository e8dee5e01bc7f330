"""Language modelling: metrics worked out by hand, and texts that a resumed run writes again."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import leyden
from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.data.datamodule import DataFacts
from leyden.errors import UserError
from leyden.modules.language_model import LanguageModel
from leyden.run import run
from leyden.tools.evaluate import evaluate

TEXT = "".join(f"line {number} of a text\n" for number in range(150))
SMALL = (
    *("model=gpt", "model.dim=16", "model.num_layers=1", "data=characters", "data.block=16", "trainer=cpu"),
    *("trainer.max_epochs=2", "task.sample_length=30"),
)
Finished = Callable[..., Path]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


def language_model(*overrides: str) -> LanguageModel:
    module = build_module(compose(*SMALL, *overrides))
    assert isinstance(module, LanguageModel)
    return module


def test_the_loss_is_the_mean_over_tokens_without_padding() -> None:
    module, logits = language_model(), torch.randn(2, 3, 256)
    targets = torch.tensor([[5, 6, 7], [8, 0, 0]])
    likelihoods = logits.log_softmax(2)
    expected = -(likelihoods[0, 0, 5] + likelihoods[0, 1, 6] + likelihoods[0, 2, 7] + likelihoods[1, 0, 8]) / 4
    assert torch.allclose(module.loss(logits, targets), expected)


@pytest.mark.parametrize("tokenizer", ["characters", "bytes", "words"])
def test_metrics_are_those_of_all_tokens_of_a_split(finished: Finished, file: Path, tokenizer: str) -> None:
    folder = finished(*SMALL, f"data.path={file}", f"data.tokenizer={tokenizer}")
    model, metrics = leyden.load(folder), json.loads((folder / "report.json").read_text())["metrics"]
    data: Any = model.data
    data.setup("test")
    inputs, targets = data.test
    with torch.no_grad():
        likelihoods = model.module(inputs.long()).log_softmax(2).gather(2, targets[..., None])[..., 0]
    nats, num = -float(likelihoods[targets != 0].sum()), int((targets != 0).sum())
    num_characters = round(len(TEXT) * 0.1)
    assert metrics["test/loss"] == pytest.approx(nats / num, rel=1e-5)
    assert metrics["test/ppl"] == pytest.approx(math.exp(nats / num), rel=1e-5)
    assert metrics["test/bpc"] == pytest.approx(nats / math.log(2) / num_characters, rel=1e-5)
    assert evaluate(folder, "test") == {name: value for name, value in metrics.items() if name.startswith("test/")}


def test_a_resumed_run_writes_the_same_texts(resumed: Callable[..., tuple[Path, Path]], file: Path) -> None:
    cfg = (*SMALL, f"data.path={file}", "checkpoint.every_n_steps=3", "data.batch_size=16", "trainer.max_epochs=3")
    alone, stopped = resumed(*cfg)
    texts = [[path.read_text() for path in sorted(folder.glob("samples/*.txt"))] for folder in (alone, stopped)]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 3
    assert (alone / "tokenizer.json").read_text() == (stopped / "tokenizer.json").read_text()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("language")
    (root / "text.txt").write_text(TEXT)
    cfg = compose(*SMALL, f"data.path={root / 'text.txt'}", "logger=none", f"paths.logs={root}", "optimizer.lr=0.01")
    run(cfg)
    (root / "text.txt").unlink()  # a loaded run does not need it
    (folder,) = root.glob("runs/*/*")
    return leyden.load(folder)


class TestLoaded:
    def test_texts_have_only_known_characters_and_their_seed_decides(self, model: Any) -> None:
        text = model.generate("line ", 40, temperature=2.0, seed=1)
        assert (len(text), text[:5]) == (45, "line ")
        assert set(text) <= set(TEXT)
        assert model.generate("line ", 40, temperature=2.0, seed=1) == text
        assert model.generate("line ", 40, temperature=2.0, seed=2) != text
        assert len({*model.sample(4)}) == 4

    def test_the_next_token_is_that_of_a_text_of_any_length(self, model: Any) -> None:
        for text in ("l", "line 1 of a", "line 1 of a text and more than the net can see"):
            (found,) = model.predict(text)
            greedy = model.generate(text, 1, temperature=0)[-1]
            assert found.top[0] == (found.prediction, found.probability)
            assert found.prediction == greedy
            assert sum(chance for _, chance in found.top) == pytest.approx(1, abs=1e-4)

    def test_bits_per_character_of_a_text(self, model: Any) -> None:
        likely, unlikely = (
            model.bits_per_character("line 7 of a text\n"),
            model.bits_per_character("txet a fo 7 enil\n"),
        )
        assert 0 < likely < unlikely
        start = torch.tensor([model.data.prompt("")])
        with torch.no_grad():
            chance = model.module(start)[0, -1].log_softmax(0)[model.data.vocabulary.encode("t")[0]]
        assert model.bits_per_character("t") == pytest.approx(-float(chance) / math.log(2), rel=1e-5)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"max_new_tokens": 0}, "max_new_tokens: got 0, must be between 1"),
            ({"temperature": -1}, "temperature: got -1"),
            ({"top_p": 0.0}, "top_p: got 0.0"),
            ({"prompt": 5}, "prompt: got int, must be a text"),
        ],
    )
    def test_a_wrong_argument(self, model: Any, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=f"^{message}"):
            model.generate(**arguments)


def test_dropout_is_off_while_a_text_is_written_and_on_again_after_it() -> None:
    module = language_model("model.dropout=0.5").train()
    one, other = (module.continued([5], 1, 20) for _ in range(2))
    assert one == other
    assert module.net.training


def test_only_tokens_that_there_are_can_be_drawn() -> None:
    module = language_model()
    module.use_facts(DataFacts(num_tokens=5))
    (ids,) = module.eval().continued([3], 1, 200)
    assert set(ids) == {2, 3, 4}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.num_samples=-1", "task.num_samples: got -1, must be at least 0"),
        ("task.sample_length=0", "task.sample_length: got 0, must be at least 1"),
        ("task.top_k=-2", "task.top_k: got -2, must be at least 0"),
        ("model.vocab_size=9", "model.vocab_size: got 9, must be 256, since data.vocab_size is 256"),
        ("ensemble=2", "ensemble: got 2, but LanguageModel has no ensembles; use ensemble=1"),
    ],
)
def test_a_wrong_value_names_its_key(override: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        language_model(override)


@pytest.mark.parametrize("model", ["lstm", "transformer"])
def test_other_nets_say_what_to_use(model: str) -> None:
    with pytest.raises(UserError, match=r"^model.in_shape: got \[64\], "):
        build_module(compose("data=characters", f"model={model}"))
