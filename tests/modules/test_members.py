"""Runs with ``ensemble=N``: each member equals a single run, and the report has the metrics of all."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
import torch

import leyden
from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.data.loaders import TrainLoader
from leyden.errors import UserError
from leyden.metrics.calibration import bins
from leyden.run import run
from leyden.tools.evaluate import evaluate
from leyden.tools.page.run_sections import run_page
from tests.conftest import chosen, small
from tests.data.building import UNCHANGED, numbered

SMALL = (
    "data=digits", "model=mlp", "model.hidden=[16]", "trainer=cpu", "trainer.max_epochs=2", "data.limit=0.3",
    "ensemble_order=shared", "logger.tensorboard.graph=true", "logger.tensorboard.histograms=true",
)  # fmt: skip
NUM = 3


def trained(logs: Path, *overrides: str) -> Path:
    cfg = compose(*SMALL, *overrides, f"paths.logs={logs}")
    run(cfg)
    (folder,) = logs.glob("runs/*/*")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("ensemble"), f"ensemble={NUM}")


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_a_member_equals_the_single_run_with_its_seed(folder: Path, report: dict[str, Any], tmp_path: Path) -> None:
    single = trained(tmp_path, "seed=2", "data.seed=0")
    alone, member = leyden.load(single), leyden.load(folder, member=2)
    for name, weight in alone.module.state_dict().items():
        assert torch.allclose(member.module.state_dict()[name], weight, atol=1e-4), name
    found = json.loads((single / "report.json").read_text())
    assert report["members"][2]["seed"] == 2 == member.config.seed
    assert report["members"][2]["metrics"] == pytest.approx(found["metrics"], abs=1e-4)


@pytest.mark.parametrize("model", ["bag", "transformer"])
def test_a_member_on_texts_equals_the_single_run_with_its_seed(model: str, files_root: Path, tmp_path: Path) -> None:
    path = f"data.path={files_root / 'texts.csv'}"
    common = [*small(model), *chosen("text"), path, "data.batch_size=4", "trainer=cpu", "trainer.max_epochs=1"]
    common += ["optimizer=sgd", "optimizer.lr=0.1"]  # the keys' biases have no gradient, and Adam enlarges its errors
    folders = {}
    for name, own in (("both", ["ensemble=2", "ensemble_order=shared"]), ("single", ["seed=1", "data.seed=0"])):
        run(compose(*common, *own, "logger=none", f"paths.logs={tmp_path / name}", f"paths.data={tmp_path}"))
        (folders[name],) = (tmp_path / name).glob("runs/*/*")
    alone, member = leyden.load(folders["single"]), leyden.load(folders["both"], member=1)
    for name, weight in alone.module.state_dict().items():
        assert torch.allclose(member.module.state_dict()[name], weight, atol=1e-4), name
    assert torch.allclose(alone("a good film"), member("a good film"), atol=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "rmsprop", "adagrad"])
def test_a_member_with_its_own_learning_rate_equals_the_single_run_with_it(optimizer: str, tmp_path: Path) -> None:
    given = (f"optimizer={optimizer}", "trainer.max_epochs=1", "optimizer.weight_decay=0.01")
    folder = trained(tmp_path / "both", *given, "ensemble=2", "ensemble_lr=[0.001,0.01]")
    single = trained(tmp_path / "single", *given, "seed=1", "data.seed=0", "optimizer.lr=0.01")
    alone, member = leyden.load(single), leyden.load(folder, member=1)
    for name, weight in alone.module.state_dict().items():
        assert torch.allclose(member.module.state_dict()[name], weight, atol=1e-4), name
    assert member.config.optimizer.lr == 0.01
    report = json.loads((folder / "report.json").read_text())
    assert [one["lr"] for one in report["members"]] == [0.001, 0.01]


def test_the_report_has_mean_and_deviation_of_the_members(report: dict[str, Any]) -> None:
    for name in ("val/loss", "val/acc", "test/auroc"):
        values = [member["metrics"][name] for member in report["members"]]
        assert report["metrics"][name] == pytest.approx(mean(values), rel=1e-5)
        assert report["metrics"][f"{name}_std"] == pytest.approx(stdev(values), rel=1e-4)
    assert report["objective"]["best"] == report["metrics"]["val/acc"]


def test_the_loaded_ensemble_averages_probabilities(folder: Path, report: dict[str, Any]) -> None:
    model = leyden.load(folder)
    model.data.setup("test")
    images, labels = model.data.test
    assert len(model.members) == NUM
    with torch.no_grad():
        mean_of_members = torch.stack([member(images).softmax(1) for member in model.members]).mean(0)
        assert torch.allclose(model(images).softmax(1), mean_of_members, atol=1e-6)
    metrics, correct = report["metrics"], mean_of_members.argmax(1) == labels
    assert metrics["test/ensemble_acc"] == pytest.approx(float(correct.float().mean()))
    assert metrics["test/ensemble_ece"] == pytest.approx(bins(mean_of_members.amax(1), correct).error, abs=1e-5)
    likelihood = mean_of_members.gather(1, labels[:, None]).log().mean()
    assert metrics["test/ensemble_loss"] == pytest.approx(-float(likelihood), abs=1e-5)
    assert model.predict(images[:1])[0].probability == pytest.approx(float(mean_of_members[0].max()), abs=1e-5)


def test_evaluating_again_gives_the_figures_of_the_report(folder: Path, report: dict[str, Any]) -> None:
    assert evaluate(folder, "val") | evaluate(folder, "test") == report["metrics"]


def test_an_ensemble_resumes_exactly(resumed: Callable[..., tuple[Path, Path]]) -> None:
    """Also one with batch norm, dropout, an order for each member, and thresholds that each member chooses."""
    options = ("model.norm=batch", "model.dropout=0.2", "ensemble_order=own", "checkpoint.every_n_steps=3")
    labels = ("data=digit_pairs", "task.thresholds=f1", "data.num_train=64", "data.num_eval=32", "data.batch_size=8")
    alone, stopped = resumed("ensemble=2", *SMALL, *labels, *options)
    reports = [json.loads((path / "report.json").read_text())["members"] for path in (alone, stopped)]
    assert reports[0] == reports[1]


def test_a_batch_holds_the_batches_of_all_orders() -> None:
    both = [labels for _, labels in TrainLoader(*numbered(10), 4, UNCHANGED, seeds=(5, 6))]
    alone = [[labels for _, labels in TrainLoader(*numbered(10), 4, UNCHANGED, seeds=(seed,))] for seed in (5, 6)]
    assert [batch.tolist() for batch in both] == [[*a.tolist(), *b.tolist()] for a, b in zip(*alone, strict=True)]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["ensemble=0"], "ensemble: got 0, must be at least 1"),
        (["model=gan"], "ensemble: got 4, but GAN has no ensembles"),
        (["model=airbench"], "ensemble: got 4, but model=airbench has no ensembles"),
        (["task.tta=mirror"], "ensemble: got 4, but task.tta=mirror needs a single net"),
        (["optimizer=muon"], "ensemble: got 4, but the optimizer Muon would mix the members"),
        (["model=seq2seq", "data=digit_strings"], "ensemble: got 4, but model=seq2seq has no ensembles"),
        (["trainer.gradient_clip_val=1"], "ensemble: got 4, but trainer.gradient_clip_val would limit the norm"),
        (["trainer.sync_batchnorm=true"], "ensemble: got 4, but trainer.sync_batchnorm"),
        (
            ["optimizer._target_=torch.optim.LBFGS", "~optimizer.betas", "~optimizer.weight_decay"],
            "the optimizer LBFGS",
        ),
        (["ensemble_lr=[0.1]"], "ensemble_lr: got 1 learning rates for ensemble=4"),
        (["ensemble_lr=[1,1,1,0]"], r"ensemble_lr: got \[1, 1, 1, 0\], every learning rate must be above 0"),
        (["ensemble=1", "ensemble_lr=[1]"], "ensemble_lr: needs ensemble above 1; for a single net, use optimizer.lr"),
        (
            [
                "ensemble_lr=[1,1,1,2]",
                "optimizer._target_=torch.optim.Rprop",
                "~optimizer.betas",
                "~optimizer.weight_decay",
            ],
            "ensemble_lr: the step of Rprop is not proportional to its learning rate",
        ),
        (["ensemble_order=other"], "ensemble_order: got 'other'; allowed are own, shared"),
    ],
)
def test_what_cannot_be_an_ensemble_is_rejected_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        build_module(compose("ensemble=4", *overrides))
    assert "\n" not in str(error.value)


def test_a_single_run_has_no_members(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match="member: got 3, must be between 0 and 2"):
        leyden.load(folder, member=3)


def test_the_page_of_the_run_lists_the_members(folder: Path, report: dict[str, Any]) -> None:
    page = run_page(folder)[1]
    assert "".join(page).count("The nets of the ensemble") >= 1
    assert f'data-value="{report["members"][1]["metrics"]["test/acc"]!r}"' in "".join(page)
