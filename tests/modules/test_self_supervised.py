"""Self-supervised tasks: losses by hand, guarantees, and a classifier that starts from a backbone."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import leyden
from leyden.checks import check_model
from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.modules.byol import BYOL, prediction_error
from leyden.modules.mae import MAE
from leyden.modules.simclr import SimCLR, nt_xent
from leyden.modules.vicreg import vicreg_terms
from leyden.run import run
from leyden.tools.evaluate import evaluate

Finished = Callable[..., Path]

CNN = ("model.channels=[4]", "model.hidden=[8]")
MODELS = {
    "simclr": ("cnn", *CNN, "task.projector=[8,4]", "task.chunk=6"),
    "vicreg": ("cnn", *CNN, "task.projector=[8]", "task.projector_norm=layer"),
    "byol": ("cnn", *CNN, "task.projector=[8,4]", "task.predictor=[8]", "averaging=ema"),
    "mae": (
        "transformer",
        "model.dim=8",
        "model.num_layers=1",
        "model.patch=7",
        "model.pool=mean",
        "task.decoder_dim=8",
    ),
}


@pytest.mark.parametrize("task", ["simclr", "byol", "mae"])  # vicreg differs from simclr in its loss only
def test_every_task_keeps_the_guarantees(task: str) -> None:
    model, *rest = MODELS[task]
    check_model(model, "digits", f"task={task}", *rest, "data.labels=100", "task.blur=0.5", "data.limit=0.3")


class TestLosses:
    def test_simclr_by_hand(self) -> None:
        first, second = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        # each view has the similarity 1 with the other one and 0 with both views of the other image
        expected = -1 / 0.5 + math.log(math.exp(1 / 0.5) + 2)
        assert float(nt_xent(first, second, 0.5)) == pytest.approx(expected)

    def test_vicreg_by_hand(self) -> None:
        first, second = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        invariance, variance, covariance = vicreg_terms(first, second)
        assert float(invariance) == 2  # the mean of 0, 4, 0, 4
        assert float(variance) == 0  # the deviations are 1
        assert float(covariance) == 2 * (2 * 2**2) / 2  # covariances of ±2, two entries per view, D = 2

    def test_byol_by_hand(self) -> None:
        assert float(prediction_error(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.5, 0.0]]))) == pytest.approx(0)
        assert float(prediction_error(torch.tensor([[2.0, 0.0]]), torch.tensor([[-1.0, 0.0]]))) == pytest.approx(4)


def module_of(task: str, *overrides: str) -> torch.nn.Module:
    model, *rest = MODELS[task]
    return build_module(compose(f"task={task}", f"model={model}", "data=digits", *rest, *overrides))


def test_the_momentum_net_follows() -> None:
    module = module_of("byol", "task.momentum=0.75", "averaging=none")
    assert isinstance(module, BYOL)
    (old, *_), (new, *_) = module.target.parameters(), module.net.parameters()
    before = old.clone()
    with torch.no_grad():
        new.add_(1)
    module.follow()
    assert torch.allclose(old, before + 0.25)
    assert not old.requires_grad


class TestMaskedAutoencoder:
    def test_only_visible_patches_are_seen(self) -> None:
        module = module_of("mae")
        assert isinstance(module, MAE)
        module.eval()
        images = torch.randn(1, 1, 28, 28)
        places = torch.arange(16)[None]
        other = images.clone()
        other[..., 7:, :] += 1  # the rows of patches after the first one, of which 4 patches are visible
        assert module.num_visible == 4
        with torch.no_grad():
            assert module.reconstruct(images, places).equal(module.reconstruct(other, places))
            assert not module.reconstruct(images, places.flip(1)).equal(module.reconstruct(other, places.flip(1)))

    def test_plots_change_no_random_numbers_and_show_the_attention(self) -> None:
        module = module_of("mae")
        assert isinstance(module, MAE)
        module.eval()
        images = torch.rand(12, 1, 28, 28)
        module.seen = [(images, torch.rand(12, 8), torch.arange(12) % 3)]
        before = torch.get_rng_state()
        plots = module.images()
        assert torch.get_rng_state().equal(before)
        assert set(plots) == {"reconstructions", "attention", "views", "neighbours", "embedding"}
        assert all(plot.shape[2] >= 500 for name, plot in plots.items() if name in ("attention", "neighbours"))

    def test_patches_are_put_together_again(self) -> None:
        module = module_of("mae", "model.patch=5")  # which does not divide 28
        assert isinstance(module, MAE)
        images = torch.rand(2, 1, 28, 28)
        assert torch.allclose(module._joined(module.patches(images), images), images)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("pretrained")
    model, *rest = MODELS["simclr"]
    small = ("data=digits", "data.limit=0.3", "data.labels=0.2", "trainer=cpu", "trainer.max_epochs=1", "logger=none")
    run(compose("task=simclr", f"model={model}", *small, *rest, f"paths.logs={logs}"))
    (folder,) = logs.glob("runs/*/*")
    return folder


class TestFineTuning:
    def test_a_classifier_starts_from_the_backbone(
        self, pretrained: Path, finished: Finished, capsys: pytest.CaptureFixture[str]
    ) -> None:
        small = ("model=cnn", "data=digits", "data.limit=0.3", *CNN, "trainer=cpu", "trainer.max_epochs=1")
        frozen = ("optimizer=sgd", "optimizer.lr=1e-12")
        folder = finished(*small, *frozen, "data.labels=20", f"init_from={pretrained}")
        said = capsys.readouterr().out
        assert (
            f"init_from: {pretrained}: weights loaded; re-initialised: net.head.4.weight, net.head.4.bias; "
            "left out: pixel_mean, pixel_std, projector\n" in said
        )
        one, other = (leyden.load(run).net.state_dict() for run in (pretrained, folder))
        assert torch.allclose(one["stages.0.weight"], other["stages.0.weight"], atol=1e-6)
        assert json.loads((folder / "report.json").read_text())["data"]["sizes"]["train"] == 20

    def test_all_images_are_used_and_the_kept_labels_measure(self, pretrained: Path) -> None:
        report = json.loads((pretrained / "report.json").read_text())
        num = report["data"]["sizes"]["train"]
        assert num > 300
        assert f"on {round(0.2 * num)} labelled samples" in report["probe"]
        assert evaluate(pretrained, "test") | evaluate(pretrained, "val") == report["metrics"]
        for name in ("views", "neighbours", "embedding"):
            assert (pretrained / name / "epoch_0001.png").is_file()

    def test_prediction_gives_the_features(self, pretrained: Path) -> None:
        model = leyden.load(pretrained)
        (found,) = model.predict(torch.zeros(28, 28, dtype=torch.uint8))
        assert isinstance(model.module, SimCLR)
        assert isinstance(found.prediction, list)
        assert len(found.prediction) == model.module.num_features == 8


WRONG = {
    ("task=simclr", "model=seq2seq"): "model: a Seq2Seq does not end with a linear layer",
    ("task=simclr", "model=mlp", "model.hidden=[]"): "model: a MLP has no layer before its last one",
    ("task=byol", "model=cnn", "task.momentum=1.0"): "task.momentum: got 1.0, must be at least 0 and below 1",
    ("task=simclr", "model=cnn", "task.projector=[]"): "task.projector: got [], must be the sizes of its layers",
    ("task=simclr", "model=cnn", "task.temperature=0"): "task.temperature: got 0, must be above 0",
    ("task=vicreg", "model=cnn", "task.variance=-1"): "task.variance: got -1, must be at least 0",
    ("task=simclr", "model=cnn", "task.bank=3"): "task.bank: got 3, must be at least 10",
    ("task=simclr", "model=cnn", "task.chunk=-1"): "task.chunk: got -1, must be at least 0",
    ("task=mae", "model=cnn"): "task: got mae, which masks patches of images; a CNN has none; use model=transformer",
    ("task=mae", "model=transformer", "model.stem=conv"): "model.stem: got conv, whose tokens see the patches beside",
    ("task=mae", "model=transformer", "task.mask=1.0"): "task.mask: got 1.0, must be above 0 and below 1",
    ("task=mae", "model=transformer", "task.decoder_dim=6"): "task.decoder_dim: got decoder_dim=6",
    ("task=simclr", "model=cnn", "task.crop=0"): "task.crop: got 0, must be above 0",
    ("task=simclr", "model=cnn", "ensemble=2"): "ensemble: got 2, but SimCLR has no ensembles",
    ("task=simclr", "model=mlp", "data=diabetes"): "model.num_outputs refers to data.num_classes, which data=diabetes",
    ("task=simclr", "model=mlp", "data=table", "data.schema={size: []}", "data.classes=[no,yes]", "data.path=x.csv"):
        "task: got simclr, whose views need images, but a sample of this data set is [1]",
}  # fmt: skip


@pytest.mark.parametrize("overrides", WRONG, ids=" ".join)
def test_what_does_not_fit_is_one_line(overrides: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as found:
        build_module(compose(*overrides))
    assert str(found.value).startswith(WRONG[overrides])
    assert "\n" not in str(found.value)
