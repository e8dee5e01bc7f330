"""CLIP: guarantees, that it learns, predictions of all texts, and what does not fit."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import leyden
from leyden.checks import check_model
from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.modules.clip import CLIP, contrastive_loss
from leyden.run import run
from leyden.tools.evaluate import evaluate

Finished = Callable[..., Path]

DATA = ("data=digit_strings", "data.max_digits=2", "data.num_train=600", "data.num_eval=90", "data.shape=[1,28,56]")
NET = ("model=mlp", "model.hidden=[32]")
SMALL = ("task=clip", "task.embedding=16", "task.text_dim=16", "task.candidates=40")


@pytest.mark.parametrize("layers", [0, 1])
def test_it_keeps_the_guarantees(layers: int) -> None:
    check_model("mlp", "digit_strings", *DATA[1:], "model.hidden=[8]", *SMALL, f"task.text_layers={layers}")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("clip")
    few = ("trainer=cpu", "trainer.max_epochs=6", "data.batch_size=32", "logger=none", "task.text_layers=0")
    run(compose(*DATA, *NET, *SMALL, *few, f"paths.logs={logs}"))
    (folder,) = logs.glob("runs/*/*")
    return folder


class TestATrainedPair:
    def test_it_finds_more_than_chance(self, trained: Path) -> None:
        """The chance is 2.5% for different texts, and below 10% with those that are equal."""
        report = json.loads((trained / "report.json").read_text())
        metrics = report["metrics"]
        assert metrics["test/i2t_acc"] > 0.3
        assert metrics["test/t2i_acc"] > 0.3
        assert metrics["test/i2t_top5"] >= metrics["test/i2t_acc"]
        assert "at most 40 samples" in report["retrieval"]
        assert (trained / "texts" / "epoch_0001.png").is_file()

    def test_the_metrics_do_not_depend_on_the_size_of_a_batch(
        self, trained: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("leyden.data.loaders.EvalLoader.MIN_BATCHES", 7)
        reported = json.loads((trained / "report.json").read_text())["metrics"]
        found = evaluate(trained, "test")
        assert found == pytest.approx({name: value for name, value in reported.items() if name in found}, abs=1e-6)

    def test_a_prediction_is_the_most_similar_of_all_texts(self, trained: Path) -> None:
        model = leyden.load(trained)
        module = model.module
        assert isinstance(module, CLIP)
        image = torch.zeros(28, 56, dtype=torch.uint8)
        (found,) = model.predict(image)
        with torch.no_grad():
            texts = torch.nn.functional.normalize(module.text_encoder(module.known.tokens), dim=1)
            (own,) = torch.nn.functional.normalize(model(image), dim=1)
            chances = (texts @ own * module.scale()).softmax(0)
        assert len(module.known.texts) == len(chances) == 110
        assert found.prediction == module.known.texts[int(chances.argmax())] == found.top[0][0]
        assert found.probability == pytest.approx(float(chances.max()), rel=1e-4)
        assert len(found.top) == 5

    def test_known_embeddings_are_dropped_when_weights_may_change(self, trained: Path) -> None:
        module = leyden.load(trained).module
        assert isinstance(module, CLIP)
        before = module.embeddings_of_all_texts()
        assert module.embeddings_of_all_texts() is before
        assert module.eval().embeddings_of_all_texts() is not before

    def test_the_image_encoder_is_transferred(
        self, trained: Path, finished: Finished, capsys: pytest.CaptureFixture[str]
    ) -> None:
        finished(*DATA, *NET, "trainer=smoke", f"init_from={trained}")
        said = capsys.readouterr().out
        assert "weights loaded; re-initialised: net.3.weight, net.3.bias; left out: " in said.replace("layers.", "")


def module_of(*overrides: str) -> CLIP:
    module = build_module(compose(*DATA, *NET, *SMALL, *overrides))
    assert isinstance(module, CLIP)
    return module


def test_the_temperature_is_learned_but_never_below_its_least_value() -> None:
    module = module_of("task.temperature=0.05")
    assert float(1 / module.scale().detach()) == pytest.approx(0.05)
    with torch.no_grad():
        module.log_scale.fill_(20)
    assert float(1 / module.scale().detach()) == pytest.approx(0.01)


def test_the_loss_ignores_the_lengths_of_the_embeddings() -> None:
    images, texts = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[5.0, 0.0], [0.0, 1.0]])
    found = contrastive_loss(images, texts, torch.tensor([4, 5]), torch.tensor(2.0))
    assert float(found) == pytest.approx(float(torch.tensor([2.0, 0.0]).softmax(0)[0].log().neg()))


def test_words_and_digits_are_different_texts() -> None:
    symbols = torch.tensor([[4, 2, 10]])
    assert module_of().texts_of(symbols) == ["forty two"]
    assert module_of("task.words=digits").texts_of(symbols) == ["four two"]
    assert module_of().labels_of(symbols) == ["42"]


WRONG = {
    ("data=digits",): "task.min_digits refers to data.min_digits, which data=digits does not define",
    ("model=seq2seq",): "task: got clip, which needs one vector for an image, but a Seq2Seq writes symbols",
    ("task.words=german",): "task.words: got 'german'; allowed are number, digits",
    ("task.text_dim=30",): "task.text_dim: got 30, must be a multiple of 4",
    ("task.text_layers=-1",): "task.text_layers: got -1, must be at least 0",
    ("task.temperature=0",): "task.temperature: got 0, must be at least 0.01",
    ("task.candidates=1",): "task.candidates: got 1, must be at least 2",
    ("task.embedding=0",): "task.embedding: got 0, must be at least 1",
    ("task.max_digits=3",): "task.max_digits: got 3, must be 4, since data.max_digits is 4",
    ("model.num_outputs=7",): "model.num_outputs: got 7, must be 64 for this task",
    ("data.max_digits=6",): "data.max_digits: got 6, must be from 1 to 5",
    ("ensemble=2",): "ensemble: got 2, but CLIP has no ensembles",
    ("objective.metric=val/acc",): "objective.metric: got val/acc",
}


@pytest.mark.parametrize("overrides", WRONG, ids=" ".join)
def test_what_does_not_fit_is_one_line(overrides: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as found:
        build_module(compose("task=clip", "model=cnn", *overrides, *_data(overrides)))
    assert str(found.value).startswith(WRONG[overrides])
    assert "\n" not in str(found.value)


def _data(overrides: tuple[str, ...]) -> tuple[str, ...]:
    return () if any(one.startswith("data=") for one in overrides) else ("data=digit_strings",)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("data=digit_pairs",), "task: got CLIP, which does not fit the targets of DigitPairs; use task=multilabel"),
        (("data=digit_strings", "data.batch_size=1"), "data.batch_size: got 1, but task=clip compares the samples"),
    ],
)
def test_what_does_not_fit_the_data_is_found_before_they_are_read(
    overrides: tuple[str, ...], said: str, finished: Finished
) -> None:
    with pytest.raises(UserError) as found:
        finished("task=clip", "model=cnn", *overrides)
    assert str(found.value).startswith(said)
