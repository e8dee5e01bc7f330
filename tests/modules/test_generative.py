"""Whole runs of autoencoder, vae and gan: what they write, and that they can be resumed."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchvision.transforms.functional import pil_to_tensor

import leyden
from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.records.loggers import read_metrics
from leyden.run import run
from leyden.tools.evaluate import evaluate
from tests.conftest import only_run

Finished = Callable[..., Path]

SMALL = ["trainer=cpu", "trainer.max_epochs=2", "trainer.limit_train_batches=5", "model.channels=[4,8]"]
PLOTS = {
    "autoencoder": {"reconstructions"},
    "vae": {"samples", "reconstructions", "interpolations", "latents"},
    "gan": {"samples", "interpolations"},
}


def small(model: str) -> list[str]:
    return [f"model={model}", *SMALL, *([] if model == "autoencoder" else ["task.num_samples=100"])]


def read_png(path: Path) -> torch.Tensor:
    return pil_to_tensor(Image.open(path))


@pytest.mark.parametrize("model", PLOTS)
def test_a_run_writes_its_metrics_and_plots(tmp_path: Path, short_feature_net: None, model: str) -> None:
    run(compose(f"paths.logs={tmp_path / 'logs'}", *small(model)))
    folder = only_run(tmp_path)
    report = json.loads((folder / "report.json").read_text())
    quality = {"fcd", "coverage", "judge_acc"} if model != "autoencoder" else set()
    losses = {"autoencoder": {"loss"}, "vae": {"loss", "nll", "kl", "bpd"}, "gan": set()}[model]
    assert set(report["metrics"]) == {f"{split}/{name}" for split in ("val", "test") for name in losses | quality}
    assert report["parameters"] == sum(weight.numel() for weight in leyden.load(folder).net.parameters())
    assert evaluate(folder, "val") | evaluate(folder, "test") == report["metrics"]

    assert report["steps"] == 10, "batches, however many optimizers step at each"
    steps = [int(row["step"]) for row in read_metrics(folder / "metrics.csv")]
    assert steps == [4, 9, 10]
    drawn = {path.parent.name for path in folder.glob("*/epoch_0002.png")}
    assert drawn == {path.parent.name for path in folder.glob("*/epoch_0001.png")} == PLOTS[model]
    assert not list(folder.rglob("*.partial"))
    plot = read_png(folder / next(iter(drawn)) / "epoch_0002.png")
    assert plot.shape[0] == 3
    assert plot.float().std() > 0
    events = EventAccumulator(str(folder))
    events.Reload()
    assert set(events.Tags()["images"]) == {"train/images", *PLOTS[model]}
    assert [event.step for event in events.Images(next(iter(drawn)))] == [4, 9]


@pytest.mark.parametrize("model", PLOTS)
def test_the_plots_of_a_resumed_run_have_the_same_bits(
    resumed: Callable[..., tuple[Path, Path]], short_feature_net: None, model: str
) -> None:
    folders = resumed(
        *small(model), "scheduler=plateau", "checkpoint.every_n_steps=2",
        where=lambda checkpoints, trainer: trainer.current_epoch == 1 and not checkpoints.between_epochs,
    )  # fmt: skip
    for name in PLOTS[model]:
        drawn = [(folder / name / "epoch_0002.png").read_bytes() for folder in folders]
        assert drawn[0] == drawn[1]


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
@pytest.mark.parametrize("model", PLOTS)
def test_every_precision(finished: Finished, short_feature_net: None, model: str, precision: str) -> None:
    """The plots, the samples and the training of the feature extractor are computed outside of Lightning's context."""
    folder = finished(*small(model), "trainer.max_epochs=1", f"trainer.precision={precision}")
    metrics = json.loads((folder / "report.json").read_text())["metrics"].values()
    assert all(math.isfinite(value) for value in metrics)
    assert {path.parent.name for path in folder.glob("*/epoch_0001.png")} == PLOTS[model]
    if model != "autoencoder":
        assert 0 <= leyden.load(folder).sample(3).float().min() < 1


@pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=gan", "trainer.gradient_clip_val=1"], "trainer.gradient_clip_val: this model has several optimizers"),
        (["model=gan", "trainer.accumulate_grad_batches=2"], "trainer.accumulate_grad_batches: this model has several"),
        (["model=gan", "trainer.precision=16-mixed"], "trainer.precision: this model has several"),
        (["model=gan", "task.ema=1.0"], "task.ema: got 1.0"),
        (["model=vae", "task.beta=-1.0"], "task.beta: got -1.0"),
        (["model=vae", "data=synthetic", "data.shape=[1,30,28]"], "model.in_shape: got [1, 30, 28]"),
        (["model=vae", "task=gan"], "task: got gan, which cannot train a GaussianAutoencoder; use model=gan"),
        (["model=cnn", "task=vae"], "model: CNN is missing a required argument: 'num_outputs'"),
        (["model=autoencoder", "data.exclude_class=10"], "data.exclude_class: got 10, must be between 0 and 9"),
    ],
)
def test_a_wrong_value_names_its_key(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        run(compose(f"paths.logs={tmp_path / 'logs'}", *overrides))
    assert str(caught.value).startswith(message)
    assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize("model", PLOTS)
def test_images_that_are_trained_on_are_not_augmented_unless_it_is_asked_for(model: str) -> None:
    assert (
        compose(f"model={model}", "data=cifar10").data.shift == compose(f"model={model}", "data=mnist").data.shift == 0
    )
    assert compose(f"model={model}", "data=cifar10").data.flip is False
    assert compose(f"model={model}", "data=mnist", "data.shift=1").data.shift == 1
    assert compose("data=cifar10").data.shift == 2
