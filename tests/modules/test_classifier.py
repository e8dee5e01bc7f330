"""The classifier's metrics against values worked out by hand."""

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.nn.functional import one_hot

from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.data.datamodule import DataFacts
from leyden.data.loaders import Batch, EvalLoader, Normalise
from leyden.errors import UserError
from leyden.modules.classifier import Classifier, accuracy
from leyden.optim import constant


class FirstPixel(nn.Module):
    """Predicts the class whose number is the first pixel, with a margin of 2."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 2.0 * one_hot(images[:, 0, 0, 0].round().long(), 3).float()


def classifier(net: nn.Module | None = None, **arguments: Any) -> Classifier:
    settings: dict[str, Any] = {"loss": "cross_entropy", "label_smoothing": 0.0, "gamma": 2.0, "l1": 0.0}
    settings |= {"mixup": 0.0, "cutmix": 0.0, "tta": "none", "class_weights": "none", **arguments}
    return Classifier(
        net=net or FirstPixel(),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        scheduler=partial(constant),
        objective={"metric": "val/acc", "mode": "max"},
        num_classes=3,
        **settings,
    )


def test_the_metrics_of_a_test(tmp_path: Path) -> None:
    truth = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    predicted = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 0])
    images = predicted.to(torch.uint8).view(-1, 1, 1, 1)
    batches = EvalLoader(images, truth, 4, Normalise([0.0], [1 / 255], torch.device("cpu")))
    module = classifier()
    trainer = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu", default_root_dir=tmp_path)
    trainer.test(module, batches, verbose=False)
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    right, wrong = 0.2395448, 2.2395448  # -log(e^2 / (e^2 + 2)) and that + 2
    assert found["test/loss"] == pytest.approx((7 * right + 3 * wrong) / 10, abs=1e-5)
    assert found["test/acc"] == pytest.approx(7 / 10)
    precisions, recalls = [3 / 4, 2 / 3, 2 / 3], [3 / 4, 2 / 3, 2 / 3]
    assert found["test/precision"] == pytest.approx(sum(precisions) / 3)
    assert found["test/recall"] == pytest.approx(sum(recalls) / 3)
    assert found["test/f1"] == pytest.approx(sum(precisions) / 3)  # equal precision and recall in each class
    report = module.report()
    areas = report.pop("per_class")["auroc"]
    assert report == {"confusion": [[3, 1, 0], [0, 2, 1], [1, 0, 2]], "absent_classes": []}
    assert found["test/auroc"] == pytest.approx(sum(areas) / 3)


def test_label_smoothing_spreads_the_target() -> None:
    batch = torch.zeros(1, 1, 1, 1), torch.tensor([0])
    plain, smooth = loss_of(classifier(), batch), loss_of(classifier(label_smoothing=0.3), batch)
    assert smooth.item() == pytest.approx(plain.item() + 0.3 * 2 / 3 * 2, abs=1e-5)


def loss_of(module: Classifier, batch: Batch) -> torch.Tensor:
    return module.loss(module(batch[0]), batch[1])


def test_the_penalty_is_trained_with_and_not_logged() -> None:
    net, batch = nn.Linear(4, 3), (torch.randn(6, 4), torch.arange(6) % 3)
    plain, penalised = classifier(net), classifier(net, l1=0.01)
    difference = penalised.training_step(batch, 0) - plain.training_step(batch, 0)
    assert difference.item() == pytest.approx(0.01 * net.weight.abs().sum().item(), rel=1e-4)
    assert torch.equal(penalised.train_means.unread[0][0], plain.train_means.unread[0][0])
    assert torch.equal(loss_of(penalised, batch), loss_of(plain, batch))


def test_accuracy_of_a_mixed_batch_counts_the_class_with_the_larger_weight() -> None:
    outputs, probabilities = torch.eye(3), torch.tensor([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0], [0.1, 0.0, 0.9]])
    assert accuracy(outputs, probabilities).item() == pytest.approx(2 / 3)


def test_only_training_mixes() -> None:
    module, batch = classifier(nn.Linear(4, 3), mixup=1.0), (torch.randn(6, 4), torch.arange(6) % 3)
    assert torch.equal(loss_of(module, batch), loss_of(module, batch))
    assert not torch.equal(module.training_step(batch, 0), loss_of(module, batch))


@pytest.mark.parametrize("option", ["gamma=-1", "l1=-0.1", "mixup=-1", "cutmix=.inf", "label_smoothing=1.0"])
def test_out_of_range(option: str) -> None:
    with pytest.raises(UserError, match=rf"^task\.{option.split('=')[0]}: got"):
        build_module(compose(f"task.{option}"))


def test_help_lists_every_argument() -> None:
    keys = compose("task=classification").task.keys() - {"_target_"}
    assert keys <= inspect.signature(Classifier).parameters.keys()
    assert (inspect.getdoc(Classifier) or "").startswith("Trains a classifier")


def test_absent_classes_are_named_in_the_report_and_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = torch.tensor([0, 1], dtype=torch.uint8).view(-1, 1, 1, 1), torch.tensor([0, 1])
    batches = EvalLoader(images, labels, 4, Normalise([0.0], [1 / 255], torch.device("cpu")))
    module = classifier()
    module.use_facts(DataFacts(classes=("cat", "dog", "cow")))
    trainer = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu", default_root_dir=tmp_path)
    for _ in range(2):
        trainer.test(module, batches, verbose=False)
    assert trainer.callback_metrics["test/auroc"] == 1
    assert module.report()["absent_classes"] == ["cow"]
    assert capsys.readouterr().out.count("The test set has no samples of cow.") == 1


class TestClassWeights:
    COUNTS = (6, 3, 0)

    def weighted(self, **arguments: Any) -> Classifier:
        module = classifier(class_weights="balanced", **arguments)
        module.use_facts(DataFacts(class_counts=self.COUNTS))
        return module

    def test_a_rare_class_weighs_more(self) -> None:
        # N / (K n) with 9 samples of 2 classes; the third class has none
        assert self.weighted().class_weights.tolist() == [0.75, 1.5, 0.0]

    @pytest.mark.parametrize("loss", ["cross_entropy", "focal", "mse"])
    def test_the_loss_is_the_mean_of_the_weighted_losses(self, loss: str) -> None:
        module = self.weighted(loss=loss, label_smoothing=0.1)
        logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 1, 0, 0])
        single = [module.loss(row[None], label[None]) for row, label in zip(logits, labels, strict=True)]
        expected = sum(value * (0.75, 1.5)[label] for value, label in zip(single, labels.tolist(), strict=True)) / 5
        torch.testing.assert_close(module.weighted_loss(logits, labels), expected)

    def test_a_mixed_sample_has_the_mean_weight_of_its_classes(self) -> None:
        module = self.weighted()
        logits, mixed = torch.randn(1, 3), torch.tensor([[0.25, 0.75, 0.0]])
        expected = module.loss(logits, mixed) * (0.25 * 0.75 + 0.75 * 1.5)
        torch.testing.assert_close(module.weighted_loss(logits, mixed), expected)

    def test_over_the_training_set_the_weights_have_the_mean_1(self) -> None:
        labels = torch.tensor([0] * 6 + [1] * 3)
        assert self.weighted().class_weights[labels].mean() == 1

    def test_the_weights_are_no_part_of_a_checkpoint(self) -> None:
        assert self.weighted().state_dict().keys() == classifier().state_dict().keys()

    def test_only_the_training_is_weighted(self) -> None:
        logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
        assert self.weighted().loss(logits, labels) == classifier().loss(logits, labels)

    def test_data_without_counts_are_one_line(self) -> None:
        with pytest.raises(UserError, match=r"^task\.class_weights: got balanced, but"):
            classifier(class_weights="balanced").use_facts(DataFacts())
