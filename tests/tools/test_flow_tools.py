"""What the tools offer for the images of a flow only: classes, guidance, inpainting, more metrics."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import leyden
from leyden.errors import UserError
from leyden.modules.flow import Flow
from leyden.modules.plots import grid
from leyden.tools.image_generation import Wanted, drawn, inpainted
from leyden.tools.trained_model import TrainedModel
from leyden.training.image_logger import write_png
from tests.conftest import small
from tests.tools.conftest import Folders, Models, script


@pytest.fixture(scope="module")
def model(model_of: Models) -> TrainedModel:
    return model_of("flow")


def test_a_requested_class(model: TrainedModel, tmp_path: Path) -> None:
    module = model.module
    assert isinstance(module, Flow)
    options = "--class 7 2 --guidance 3 --steps 4 --sampler euler --num 3 --seed 5".split()  # noqa: SIM905
    assert script("sample", model.folder, "--out", tmp_path / "x.png", *options) == (0, f"{tmp_path / 'x.png'}\n", "")
    noise, _ = module.split(module.random_latents(3, leyden.seeding.generator(5, "samples")))
    wanted = module.sampling.changed(guidance=3.0, num_steps=4, sampler="euler")
    expected = module.generated(noise, module.one_hot(torch.tensor([7, 2, 7])), wanted)
    write_png(tmp_path / "expected.png", grid(expected))
    assert (tmp_path / "x.png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    assert drawn(model, 3, 5, Wanted()).equal(model.sample(3, 5))


def test_interpolations(model: TrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "rows.png"
    assert script("sample", model.folder, "--interpolate", "--num", "2", "--class", "3", "--out", path)[0] == 0
    with Image.open(path) as image:
        assert image.size == (8 * 29 + 1, 2 * 29 + 1)
        pixels = np.asarray(image)
    assert pixels[1:29, 1:29].std() > 0


def test_the_known_part_of_an_image_is_kept(model: TrainedModel, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    path, options = tmp_path / "filled.png", ("--box", "4", "5", "6", "7", "--num", "2")
    done = script("sample", model.folder, "--inpaint", tmp_path / "image.png", *options, "--out", path)
    assert done == (0, f"{path}\n", "")
    tiles = np.asarray(Image.open(path))[1:29, :, 0]  # image, image without the box, two results
    given, empty, *filled = (tiles[:, 1 + 29 * number : 29 + 29 * number].astype(int) for number in range(4))
    assert np.abs(given - pixels).max() <= 1
    inside = np.zeros((28, 28), bool)
    inside[4:10, 5:12] = True
    assert set(empty[inside]) == {127}
    for result in (empty, *filled):
        assert np.abs(result - pixels)[~inside].max() <= 1
    assert np.abs(filled[0] - filled[1])[inside].max() > 1
    with pytest.raises(UserError, match="--sampler: got heun, but --inpaint needs ddim"):
        inpainted(model, pixels, None, 1, 0, Wanted(sampler="heun"))


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("flow", "--class 12", "--class: got 12, must be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("flow", "--steps 0", "--steps: got 0, must be at least 1"),
        ("flow", "--guidance -1", "--guidance: got -1.0, must be at least 0"),
        ("flow", "--sampler rk4", "--sampler: got rk4, must be euler, heun, ddim or dopri5"),
        ("flow", "--box 0 0 1 1", "--box: needs an image, --inpaint IMAGE"),
        ("flow", "--interpolate --num 0", "--num: got 0, must be at least 1"),
        ("flow", "--interpolate --inpaint x.png", "--interpolate: cannot be combined with --inpaint"),
        ("flow", "--inpaint x.png", "image: there is no file x.png"),
        ("flow", "--prompt a", "--prompt: applies only to runs that write texts (model=gpt)"),
        ("gan", "--class 3", "--class, --guidance, --steps and --sampler: applies only to runs of task=flow"),
        ("vae", "--interpolate", "--interpolate: applies only to runs of task=flow (model=flow, dit or ddpm)"),
    ],
)  # fmt: skip
def test_a_wrong_option_of_sample(task: str, arguments: str, message: str, run_of: Folders, tmp_path: Path) -> None:
    code, output, errors = script("sample", run_of(task), *arguments.split(), "--out", tmp_path / "out.png")
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"error: {message}")
    assert not list(tmp_path.iterdir())


def test_a_box_outside_of_the_image(model: TrainedModel) -> None:
    said = "--box: got 20 0 14 28, must be TOP LEFT HEIGHT WIDTH of a box within 28x28 pixels"
    with pytest.raises(UserError, match=said):
        inpainted(model, np.zeros((28, 28), np.uint8), (20, 0, 14, 28), 1, 0, Wanted())


def test_more_metrics_of_an_evaluation(run_of: Folders, model: TrainedModel) -> None:
    options = ("--steps", "2", "1", "--bits", "3", "--samples", "7", "--classifier", run_of("classification"), "--json")
    code, output, errors = script("evaluate", model.folder, *options, "--accelerator", "cpu")
    assert (code, errors) == (0, "")
    metrics, folder = json.loads(output), model.folder / "evaluation" / "test"
    assert metrics["test/classifier_agreement"] in [number / 7 for number in range(8)]
    assert 0 < metrics["test/bpd"] < 20
    assert json.loads((folder / "metrics.json").read_text())["metrics"] == metrics
    rows = list(csv.DictReader((folder / "steps.csv").read_text().splitlines()))
    assert [(row["sampler"], row["steps"]) for row in rows] == [
        ("euler", "1"), ("euler", "2"), ("heun", "1"), ("heun", "2"),
    ]  # fmt: skip
    assert float(rows[3]["fcd"]) == pytest.approx(metrics["test/fcd"], rel=1e-4), "two steps of heun, as the run"
    assert (folder / "steps.png").stat().st_size > 10_000
    for name in ("steps.csv", "steps.png"):
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("flow", "--steps 0", "--steps: got 0, must be at least 1"),
        ("flow", "--bits -1", "--bits: got -1, must be at least 0"),
        ("flow", "--samples 1", "--samples: got 1, must be at least 2"),
        ("flow", "--steps 1 --no-files", "--steps: writes a plot, so it cannot be combined with --no-files"),
        ("flow", "--classifier {gan}", "--classifier: {gan} is no classifier of images with 10 classes"),
        ("flow", "--guidance -2", "--guidance: got -2.0, must be at least 0"),
        ("gan", "--guidance 2", "--guidance: applies only to runs of task=flow (model=flow, dit or ddpm)"),
        ("gan", "--samples 10", "--samples: applies only to runs of task=flow (model=flow, dit or ddpm)"),
        ("gan", "--bits 10", "--bits: applies only to runs of task=flow (model=flow, dit or ddpm)"),
    ],
)
def test_a_wrong_option_of_evaluate(task: str, arguments: str, message: str, run_of: Folders) -> None:
    words = [word.format(gan=run_of("gan")) for word in arguments.split()]
    code, output, errors = script("evaluate", run_of(task), *words, "--accelerator", "cpu")
    assert (code, output) == (2, "")
    assert errors == f"error: {message.format(gan=run_of('gan'))}\n"


def test_the_fid_needs_torch_fidelity(run_of: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = script("evaluate", run_of("flow"), "--fid", "weights.pth", "--accelerator", "cpu")
    assert done == (2, "", "error: --fid: needs another package: pip install torch-fidelity\n")


def test_reflow_resumes_exactly_and_learns_from_another_run(
    run_of: Folders, resumed: Callable[..., tuple[Path, Path]], short_feature_net: None
) -> None:
    folder, _ = resumed(
        *small("flow"), "trainer=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=4", "data.batch_size=16",
        "task.reflow=true", f"init_from={run_of('flow')}", "checkpoint.every_n_steps=2", "task.hide_class=0.5",
    )  # fmt: skip
    weights = [leyden.load(run).module.state_dict()["net.head.weight"] for run in (run_of("flow"), folder)]
    assert not weights[0].equal(weights[1])
