"""Whole runs on the digits, in this process: what they leave behind, and that it can be taken up."""

import io
import json
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import leyden
from leyden.checks import random_inputs
from leyden.config.builders import build_data, build_module
from leyden.config.compose import compose, groups
from leyden.errors import UserError
from leyden.modules.generative import GenerativeModule
from leyden.records.checkpoint_file import read_checkpoint
from leyden.records.loggers import read_metrics
from leyden.records.run_folder import best_checkpoint, last_checkpoint
from leyden.run import resume, run
from leyden.tools.evaluate import evaluate
from leyden.training.callbacks import better
from tests.conftest import only_run, same_weights

Finished = Callable[..., Path]
Resumed = Callable[..., tuple[Path, Path]]


@pytest.fixture(autouse=True)
def few_images_have_not_all_classes() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*No (positive|negative) samples.*", UserWarning)
        yield


@pytest.mark.parametrize("experiment", groups()["experiment"])
def test_every_recipe_can_be_built(tmp_path: Path, experiment: str) -> None:
    (tmp_path / "text").mkdir()
    for name in ("r8", "20ng"):  # the classes are read from these files
        (tmp_path / f"text/{name}-train.tsv").write_text("no\ta text\nyes\tanother text\n")
    cfg = compose(f"experiment={experiment}", f"paths.data={tmp_path}")
    build_data(cfg)
    module = build_module(cfg).eval()
    if isinstance(module, GenerativeModule):
        return  # to draw samples takes too long
    with torch.no_grad():
        outputs = module(random_inputs(cfg, 2))
    assert len(outputs) == 2
    assert outputs.isfinite().all()


@pytest.mark.parametrize("choice", [f"{g}={c}" for g in ("optimizer", "scheduler") for c in groups()[g]])
def test_every_optimizer_and_schedule_learns(finished: Finished, choice: str) -> None:
    folder = finished(choice, "data=synthetic", "model=mlp", "trainer.max_epochs=2")
    first, last = (float(row["train/loss"]) for row in read_metrics(folder / "metrics.csv")[:2])
    assert last < first


def test_the_default_run_reaches_what_the_readme_says(tmp_path: Path) -> None:
    best = run(compose(f"paths.logs={tmp_path / 'logs'}"))
    folder = only_run(tmp_path)
    report = json.loads((folder / "report.json").read_text())
    assert folder.parent.name == report["name"] == "digits-cnn"
    assert report["metrics"]["test/acc"] >= 0.97
    assert report["objective"].items() >= {"metric": "val/acc", "mode": "max", "best": best}.items()
    assert report["metrics"]["val/acc"] == best
    assert sum(map(sum, report["confusion"])) == report["data"]["sizes"]["test"] == 359
    assert report["parameters"] == 44_426 + 2 * (6 + 16 + 120 + 84)  # the tutorial's net and its batch norms
    assert (report["epochs"], report["steps"]) == (10, 410)
    assert report["images_per_second"] > 0 < report["seconds"]["training"] < report["seconds"]["total"]
    assert set(report) >= {"device", "precision", "seed", "command", "versions", "git", "processes"}

    rows = read_metrics(folder / "metrics.csv")
    assert [int(row["epoch"]) for row in rows if row["train/loss"]] == list(range(10))
    assert max(float(row["val/acc"]) for row in rows if row["val/acc"]) == pytest.approx(best)

    events = EventAccumulator(str(folder))
    events.Reload()
    assert len(events.Scalars("train/loss")) == len(events.Scalars("val/acc")) == 10
    assert len(events.Scalars("val/acc_best")) == 11  # the last one belongs to HPARAMS
    assert set(events.Tags()["images"]) >= {"train/images", "val/confusion"}
    assert "config/text_summary" in events.Tags()["tensors"]
    assert evaluate(folder)["test/acc"] == report["metrics"]["test/acc"]


def test_the_same_seed_gives_the_same_bits_and_another_one_others(finished: Finished) -> None:
    overrides = ["trainer.max_epochs=1", "model.dropout=0.3", "data.shift=1"]
    one, same, other = (leyden.load(finished(*overrides, f"seed={seed}")).module for seed in (1, 1, 2))
    assert same_weights(one, same)
    assert not same_weights(one, other)


def test_a_finished_run_says_so_and_goes_on_with_more_epochs(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished("trainer.max_epochs=2", "scheduler=cosine")
    before = last_checkpoint(folder).read_bytes()
    resume(folder)
    assert "is finished. It ended by trainer.max_epochs=2. To continue it, give a larger" in capsys.readouterr().out
    assert last_checkpoint(folder).read_bytes() == before
    resume(folder, ["trainer.max_epochs=3"])
    assert json.loads((folder / "report.json").read_text())["epochs"] == 3
    rows = read_metrics(folder / "metrics.csv")
    assert [row["epoch"] for row in rows if row["train/loss"]] == ["0", "1", "2"]
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("scheduler", ["onecycle", "plateau"])
def test_stopped_between_epochs_and_resumed_it_ends_in_the_same_bits(resumed: Resumed, scheduler: str) -> None:
    overrides = ["trainer.max_epochs=4", "model.dropout=0.2", f"scheduler={scheduler}", "early_stopping.patience=1"]
    resumed(
        *overrides, "task.mixup=0.2", "task.cutmix=1.0",
        method="_stop_if_asked",  # called right after the checkpoint between epochs
        where=lambda checkpoints, trainer: trainer.current_epoch > 0, within_epoch=False,
    )  # fmt: skip


@pytest.mark.parametrize("within_epoch", [True, False])
def test_a_run_with_a_limit_of_steps_resumes_in_the_same_bits(resumed: Resumed, within_epoch: bool) -> None:
    where = {} if within_epoch else {"where": lambda checkpoints, trainer: checkpoints.between_epochs}
    alone, _ = resumed(
        "model=mlp", "trainer.max_epochs=4", "trainer.max_steps=70", "scheduler=plateau", "checkpoint.every_n_steps=30",
        **where, within_epoch=within_epoch,
    )  # fmt: skip
    assert json.loads((alone / "report.json").read_text())["steps"] == 70


@pytest.mark.parametrize(
    ("ended", "raised"),
    [
        ("trainer.max_steps=3", "trainer.max_steps=5"),
        ("trainer.max_steps=3", "trainer.max_steps=-1"),
        ("trainer.max_time=00:00:00:00", "trainer.max_time=00:00:01:00"),
    ],
)
def test_a_finished_run_continues_when_its_limit_is_raised(
    ended: str, raised: str, finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["trainer=smoke", "trainer.max_epochs=2", "model=mlp", "model.hidden=[4]", "scheduler=none"]
    alone, folder = finished(*small, raised), finished(*small, ended)
    key, _, limit = ended.partition("=")
    report = json.loads((folder / "report.json").read_text())
    assert report["ended_by"]["key"] == key
    assert report["steps"] < 5
    resume(folder, ["trainer.max_epochs=3"])
    assert f"is finished. It ended by {key}={limit}. To continue it, give a larger {key}" in capsys.readouterr().out
    resume(folder, [raised])
    assert json.loads((folder / "report.json").read_text())["steps"] == (5 if raised == "trainer.max_steps=5" else 6)
    one, other = (read_checkpoint(last_checkpoint(path))["state_dict"] for path in (alone, folder))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_channels_last_resumes_and_is_evaluated_as_trained(resumed: Resumed) -> None:
    folder, _ = resumed("trainer.channels_last=true", "trainer.max_epochs=2", "checkpoint.every_n_steps=30")
    kernel = leyden.load(folder).module.net.stages[3 + 1].weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert not kernel.is_contiguous()
    report = json.loads((folder / "report.json").read_text())
    assert evaluate(folder, "val").items() <= report["metrics"].items()


@pytest.mark.parametrize("scheduler", groups()["scheduler"])
def test_every_schedule_goes_on_in_the_middle_of_an_epoch(resumed: Resumed, scheduler: str) -> None:
    resumed("model=mlp", "trainer.max_epochs=3", f"scheduler={scheduler}", "checkpoint.every_n_steps=50")


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [([f"trainer.max_steps={steps}"], steps) for steps in (2, 3, 4)]
    + [
        (["trainer.check_val_every_n_epoch=2"], 6),
        (["trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3"], 9),
        (["trainer.check_val_every_n_epoch=2", "trainer.max_time=00:00:00:00"], 3),
        (["trainer.val_check_interval=2"], 6),
    ],
    ids=str,
)
@pytest.mark.parametrize("scheduler", ["plateau", "onecycle"])
def test_a_run_may_end_before_its_first_validation(
    scheduler: str, overrides: list[str], steps: int, finished: Finished
) -> None:
    folder = finished("trainer=smoke", "model=mlp", "model.hidden=[4]", f"scheduler={scheduler}", *overrides)
    assert json.loads((folder / "report.json").read_text())["steps"] == steps


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.num_nodes=2", r"^trainer\.num_nodes: got 2, but neither torchrun nor srun started this process"),
        ("trainer.devices=1000", r"^trainer\.devices: got 1000 processes, but this machine has \d+ CPU cores"),
    ],
)
def test_processes_that_never_come_or_are_too_many_are_rejected(
    override: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UserError, match=message):
        run(compose("trainer=smoke", override))


def test_a_validation_after_more_batches_than_an_epoch_has_is_rejected() -> None:
    with pytest.raises(UserError, match=r"^trainer\.val_check_interval: got 30, but an epoch has only 3 training"):
        run(compose("trainer=smoke", "trainer.val_check_interval=30"))


def test_a_fraction_of_the_test_set_is_at_least_one_batch(finished: Finished) -> None:
    """The test comes after the training, which would be wasted by an error."""
    folder = finished("trainer.max_epochs=1", "trainer.limit_test_batches=0.001")
    assert "test/acc" in json.loads((folder / "report.json").read_text())["metrics"]


def test_early_stopping_ends_a_run_that_no_longer_gets_better(finished: Finished) -> None:
    folder = finished("optimizer.lr=1e-9", "early_stopping.patience=2", "trainer.max_epochs=9", "trainer.min_epochs=5")
    assert json.loads((folder / "report.json").read_text())["epochs"] == 5


def test_k_fold_runs_validate_on_other_images(finished: Finished) -> None:
    reports = [
        json.loads((finished("trainer=smoke", "data.num_folds=5", f"data.fold={fold}") / "report.json").read_text())
        for fold in (0, 4)
    ]
    sizes = [report["data"]["sizes"] for report in reports]
    assert all(size["train"] + size["val"] == 1438 for size in sizes)
    assert reports[0]["metrics"]["val/loss"] != reports[1]["metrics"]["val/loss"]


class TestBadFolders:
    def test_no_run_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="is not a run folder"):
            resume(tmp_path)

    def test_a_checkpoint_of_another_model(self, finished: Finished) -> None:
        small, large = finished("trainer=smoke"), finished("trainer=smoke", "model.channels=[8,16]")
        last_checkpoint(small).write_bytes(last_checkpoint(large).read_bytes())
        with pytest.raises(UserError, match=r"belongs to another model \(net\.stages\.0\.weight is \[8, 1, 5, 5\]"):
            resume(small, ["trainer.max_epochs=9"])

    def test_a_damaged_checkpoint(self, finished: Finished) -> None:
        folder = finished("trainer=smoke")
        path = best_checkpoint(folder)
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(UserError, match=r"best\.ckpt: cannot be read"):
            leyden.load(folder)

    def test_a_config_that_wants_to_run_code(self, finished: Finished, tmp_path: Path) -> None:
        folder = finished("trainer=smoke")
        config = (folder / "config.yaml").read_text()
        attack = config.replace("leyden.nets.cnn.CNN", "os.mkdir").replace(
            "in_shape:", f"path: {tmp_path}/attacked\n  in_shape:"
        )
        (folder / "config.yaml").write_text(attack)
        with pytest.raises(UserError, match=r"model\._target_: 'os\.mkdir' is not in a trusted package"):
            leyden.load(folder)
        assert not (tmp_path / "attacked").exists()


def test_killed_after_training_but_before_the_report_it_only_tests(finished: Finished) -> None:
    folder = finished("trainer=smoke")
    report = folder / "report.json"
    before, weights = json.loads(report.read_text()), last_checkpoint(folder).read_bytes()
    report.unlink()
    resume(folder)
    after = json.loads(report.read_text())
    assert after["metrics"] == before["metrics"]
    assert torch.equal(
        torch.load(last_checkpoint(folder), weights_only=True)["state_dict"]["net.head.0.weight"],
        torch.load(io.BytesIO(weights), weights_only=True)["state_dict"]["net.head.0.weight"],
    )


def test_a_folder_can_be_moved_and_taken_further(finished: Finished, tmp_path: Path) -> None:
    folder = finished("trainer=smoke").rename(tmp_path / "elsewhere")
    best = json.loads((folder / "report.json").read_text())["objective"]["best"]
    assert resume(folder, ["trainer.max_epochs=3"]) >= best
    assert json.loads((folder / "report.json").read_text())["epochs"] == 3


def test_nan_does_not_stay_the_best() -> None:
    assert better(0.5, math.nan, "max")
    assert better(0.5, math.nan, "min")
    assert not better(math.nan, 0.5, "max")
    assert better(0.6, 0.5, "max")
    assert not better(0.6, 0.5, "min")


def test_stopped_early_and_killed_before_the_report_it_does_not_train_again(finished: Finished) -> None:
    folder = finished("optimizer.lr=1e-9", "early_stopping.patience=2", "trainer.max_epochs=9")
    report = folder / "report.json"
    before, steps = json.loads(report.read_text()), read_checkpoint(last_checkpoint(folder))["global_step"]
    report.unlink()
    resume(folder)
    after = json.loads(report.read_text())
    assert (after["epochs"], after["metrics"]) == (before["epochs"], before["metrics"])
    assert read_checkpoint(last_checkpoint(folder))["global_step"] == steps
    assert after["ended_by"] == {"key": "early_stopping.patience", "limit": 2}
    resume(folder, ["early_stopping.patience=4"])
    assert json.loads(report.read_text())["epochs"] > before["epochs"]
