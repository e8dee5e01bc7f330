"""What TensorBoard shows of a run, and that a resumed run shows the same."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util
from torch.utils.tensorboard import SummaryWriter

from leyden.config.compose import compose
from leyden.config.hyperparameters import set_hyperparameters
from leyden.run import resume, run
from scripts.torture_lib.same_bits import compare, curves
from tests.conftest import power_cut

RUN = ("model=mlp", "model.hidden=[8]", "data.limit=0.5", "trainer=cpu", "optimizer.lr=0.01")

RESUMED = ("trainer.max_epochs=2", "logger.tensorboard.every_n_steps=7", "logger.tensorboard.embeddings=0")


def trained(logs: Path, *overrides: str) -> Path:
    run(compose(*RUN, f"paths.logs={logs}", *overrides))
    return max((logs / "runs").glob("*/*"), key=lambda folder: folder.stat().st_mtime_ns)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(
        tmp_path_factory.mktemp("run"),
        "trainer.max_epochs=3",
        "logger.tensorboard.plots_every_n_epochs=2",
        "logger.tensorboard.every_n_steps=7",
        "logger.tensorboard.histograms=true",
        "logger.tensorboard.graph=true",
        "logger.tensorboard.embeddings=50",
    )


@pytest.fixture(scope="module")
def events(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), {"images": 0, "histograms": 0, "tensors": 0})  # 0: keep all
    events.Reload()
    return events


def test_no_chart_has_a_single_point_and_all_are_grouped_by_split(events: EventAccumulator) -> None:
    tags = events.Tags()["scalars"]
    assert {tag.partition("/")[0] for tag in tags} == {"train", "val"}
    assert {tag: len(events.Scalars(tag)) for tag in tags if len(events.Scalars(tag)) < 3} == {}


def test_loss_and_learning_rate_have_points_within_the_epochs(folder: Path, events: EventAccumulator) -> None:
    # 21 steps per epoch: 648 training samples in batches of 32
    losses, rates = events.Scalars("train/loss_step"), events.Scalars("train/lr")
    assert [point.step for point in losses] == [point.step for point in rates] == [6, 13, 20, 27, 34, 41, 48, 55, 62]
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    sizes = [7 * 32, 7 * 32, 648 - 14 * 32]  # the mean of an epoch is that of its three points
    for epoch, row in enumerate(rows):
        means = [point.value for point in losses[3 * epoch : 3 * epoch + 3]]
        assert np.average(means, weights=sizes) == pytest.approx(float(row["train/loss"]), rel=1e-5)
        assert rates[3 * epoch + 2].value == pytest.approx(float(row["lr"]), rel=1e-6)


def test_a_short_epoch_has_one_point(tmp_path: Path) -> None:
    points = curves(trained(tmp_path, "trainer.max_epochs=3"))  # 21 steps per epoch, a point every 50 steps
    assert [step for step, _ in points["train/loss_step"]] == [20, 41, 62]
    assert [value for _, value in points["train/loss_step"]] == [value for _, value in points["train/loss"]]


def test_the_best_value_so_far_never_gets_worse(events: EventAccumulator) -> None:
    best = [point.value for point in events.Scalars("val/acc_best")]
    assert best[:-1] == list(np.maximum.accumulate([point.value for point in events.Scalars("val/acc")]))
    assert best[-1] == max(best)


def test_plots_are_drawn_every_second_epoch_and_at_the_end(events: EventAccumulator) -> None:
    for name in ("val/confusion", "val/errors"):
        assert [image.step for image in events.Images(name)] == [41, 62]
    assert [event.step for event in events.Tensors("pr/3")] == [41, 62]
    assert [event.step for event in events.Histograms("weights/layers.0.weight")] == [41, 62]
    assert events.Tags()["graph"]


def test_pr_curves_end_at_the_recall_of_their_thresholds(folder: Path, events: EventAccumulator) -> None:
    curve = tensor_util.make_ndarray(events.Tensors("pr/3")[-1].tensor_proto)  # rows: TP, FP, TN, FN, precision, recall
    assert curve.shape == (6, 127)
    assert (curve[:4].sum(0) == curve[:4, 0].sum()).all()
    assert curve[5, 0] == 1  # at threshold 0 every sample is predicted
    np.testing.assert_allclose(curve[5], curve[0] / (curve[0] + curve[3]), rtol=1e-6)


def test_hparams_have_only_keys_that_were_set_and_the_real_metrics(folder: Path) -> None:
    start: dict[str, Any] = {}
    experiment: set[str] = set()
    for path in folder.glob("events.out.tfevents.*"):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "hparams":
                    data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
                    start |= dict(data.session_start_info.hparams)
                    experiment |= {info.name.tag for info in data.experiment.metric_infos}
    tested = {name for name in start if name.startswith("test/")}
    assert set(start) - tested == {
        "model", "model.hidden", "data.limit", "trainer", "optimizer.lr", "trainer.max_epochs"
    }  # fmt: skip
    assert start["model"].string_value == "mlp"
    assert start["optimizer.lr"].number_value == 0.01
    assert "test/acc" in tested
    assert experiment == {"val/acc_best"}


def test_the_layout_has_both_splits_in_one_chart(events: EventAccumulator) -> None:
    (event,) = events.Tensors("custom_scalars__config__")
    text = str(event.tensor_proto.string_val)
    for name in ("train/loss", "val/loss", "train/acc", "val/acc"):
        assert f"^{name}$" in text


def test_the_projector_has_a_vector_a_label_and_an_image_for_each_sample(folder: Path) -> None:
    vectors = np.loadtxt(folder / "projector" / "tensors.tsv", delimiter="\t")
    labels = (folder / "projector" / "metadata.tsv").read_text().splitlines()
    assert vectors.shape == (50, 8)  # the hidden layer has 8 units
    assert len(labels) == 50
    assert set(labels) <= set("0123456789")
    with Image.open(folder / "projector" / "sprite.png") as sprite:
        assert sprite.size == (8 * 28, 8 * 28)
    assert 'tensor_path: "projector/tensors.tsv"' in (folder / "projector_config.pbtxt").read_text()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was not interrupted."""
    # TensorBoard reads the files of one second in the order of their names, which end with the number of the writer in
    # its process, and 10 comes before 9.
    for _ in range(10):
        SummaryWriter(str(tmp_path_factory.mktemp("unused"))).close()
    return trained(tmp_path_factory.mktemp("alone"), *RESUMED)


@pytest.mark.parametrize("step", [14, 15, 21])
def test_a_resumed_run_has_the_same_curves(alone: Path, tmp_path: Path, step: int) -> None:
    """The power is cut after a checkpoint at a step with a point, at one without, and at the end of an epoch."""
    with power_cut():
        trained(tmp_path, *RESUMED, f"checkpoint.every_n_steps={step}")
    (stopped,) = (tmp_path / "runs").glob("*/*")
    resume(stopped)
    assert compare(alone, stopped) == []


def test_the_weights_do_not_depend_on_tensorboard(folder: Path, tmp_path: Path) -> None:
    other = trained(tmp_path, "trainer.max_epochs=3", "logger=none")
    one, two = (torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (folder, other))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("name", "file"), [("simple", "fit-profile.txt"), ("pytorch", "*.pt.trace.json")])
def test_a_profiler_writes_into_the_run_folder(name: str, file: str, tmp_path: Path) -> None:
    run_folder = trained(tmp_path, "trainer=smoke", f"trainer.profiler={name}", "logger=none")
    assert list(run_folder.glob(file)), [path.name for path in run_folder.iterdir()]
    assert (run_folder / "fit-profile.txt").read_text().strip()


def test_a_stored_override_that_cannot_be_read_is_left_out() -> None:
    cfg = compose("model=mlp")
    overrides = ["model=mlp", "optimizer.lr=${oc.env:HOME}", "no.such.key=1", "~seed", "paths.logs=x", "[", "seed=3"]
    found = set_hyperparameters(cfg, overrides)
    assert found == {"model": "mlp", "optimizer.lr": cfg.optimizer.lr, "seed": 0}
