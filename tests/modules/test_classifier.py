"""The classifier's figures against ones worked out by hand."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn.functional import one_hot

from leyden.data.loaders import EvalLoader, Normalise
from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.modules.classifier import Classifier, evaluation_metrics
from leyden.optim import constant


class Reader(nn.Module):
    """Logits that say what the first pixel says, a number of the class, with a margin of 2."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 2.0 * one_hot(images[:, 0, 0, 0].round().long(), 3).float()


def classifier(**kwargs: float) -> Classifier:
    return Classifier(
        net=Reader(),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        scheduler=partial(constant),
        objective={"metric": "val/acc", "mode": "max"},
        num_classes=3,
        **kwargs,
    )


def test_the_metrics_of_a_test(tmp_path: Path) -> None:
    truth = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    said = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 0])
    images = said.to(torch.uint8).view(-1, 1, 1, 1)
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
    assert module.report() == {"confusion": [[3, 1, 0], [0, 2, 1], [1, 0, 2]]}


def test_auroc_is_the_mean_over_the_classes_of_one_against_the_rest() -> None:
    logits = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    truth = torch.arange(200) % 3
    metrics = evaluation_metrics(3)
    for part in (slice(0, 70), slice(70, 200)):
        metrics.update(logits[part], truth[part])
    expected = roc_auc_score(truth, logits.softmax(1), multi_class="ovr", average="macro")
    assert metrics.compute()["auroc"].item() == pytest.approx(expected, abs=1e-6)


def test_label_smoothing_spreads_the_target() -> None:
    batch = torch.zeros(1, 1, 1, 1), torch.tensor([0])
    plain, smooth = classifier().step(batch)[0], classifier(label_smoothing=0.3).step(batch)[0]
    assert smooth.item() == pytest.approx(plain.item() + 0.3 * 2 / 3 * 2, abs=1e-5)


def test_means_are_over_samples_not_over_batches() -> None:
    means, module = EpochMeanAccumulator("loss"), classifier()
    module.trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    means.add(3, torch.tensor(1.0))
    means.add(1, torch.tensor(5.0))
    assert means.means(module, "train/")["train/loss"].item() == 2.0
    means.add(2, torch.tensor(7.0))
    assert means.means(module, "train/")["train/loss"].item() == 7.0, "an epoch must start from zero"
