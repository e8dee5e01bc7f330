"""From which checkpoint a run resumes, and what is reported before it does."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leyden.errors import UserError
from leyden.records.checkpoint_file import read_checkpoint
from leyden.records.run_folder import best_checkpoint, last_checkpoint, previous_checkpoint
from leyden.run import resume
from leyden.training.resume import last_good_checkpoint
from scripts.torture_lib.same_bits import differing
from tests.conftest import write_folder

Finished = Callable[..., Path]
TINY = ("trainer=smoke", "model=mlp", "model.hidden=[8]")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def test_a_damaged_last_checkpoint_is_replaced_by_the_one_before(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished(*TINY, "trainer.max_epochs=3")
    whole = read_checkpoint(last_checkpoint(folder))
    (folder / "report.json").unlink()
    flip_a_bit(last_checkpoint(folder))
    resume(folder)
    assert "last.ckpt: is damaged" in (said := capsys.readouterr().out)
    assert "The run resumes from previous.ckpt" in said
    assert differing(whole, read_checkpoint(last_checkpoint(folder)), "last.ckpt") == []


def test_a_power_cut_between_two_renames_leaves_the_one_before(finished: Finished) -> None:
    folder = finished(*TINY)
    last_checkpoint(folder).rename(previous_checkpoint(folder))
    path, checkpoint = last_good_checkpoint(folder)
    assert path == previous_checkpoint(folder)
    assert checkpoint is not None


def test_without_a_good_checkpoint_the_message_says_what_to_do(finished: Finished) -> None:
    folder = finished(*TINY)
    for path in (last_checkpoint(folder), previous_checkpoint(folder)):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"last\.ckpt: cannot be read.*Delete it to start again from step 0"):
        resume(folder, ["trainer.max_epochs=9"])


def test_a_copy_of_the_best_checkpoint_is_not_resumed_from(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished(*TINY)
    shutil.copy(best_checkpoint(folder), last_checkpoint(folder))
    path, _ = last_good_checkpoint(folder)
    assert path == previous_checkpoint(folder)
    assert "last.ckpt: cannot be resumed from, because it has no callbacks" in capsys.readouterr().out
    previous_checkpoint(folder).unlink()
    with pytest.raises(UserError, match=r"Is it a copy of best\.ckpt\?. Delete it to start again from step 0"):
        last_good_checkpoint(folder)


@pytest.mark.parametrize("name", ["best.ckpt", "origin.json"])
@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_what_is_needed_at_the_end_is_checked_at_the_start(finished: Finished, name: str, damage: str) -> None:
    folder = finished(*TINY)
    path = best_checkpoint(folder) if name == "best.ckpt" else folder / name
    path.unlink() if damage == "missing" else path.write_bytes(b"")
    before = last_checkpoint(folder).read_bytes()
    with pytest.raises(UserError, match=name):
        resume(folder, ["trainer.max_epochs=9"])
    assert last_checkpoint(folder).read_bytes() == before


def test_weights_that_are_not_finite_are_reported(finished: Finished) -> None:
    folder = finished(*TINY)
    path = best_checkpoint(folder)
    checkpoint = torch.load(path, weights_only=True)
    next(iter(checkpoint["state_dict"].values()))[0] = float("nan")
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match=r"best\.ckpt: the weight .* is not finite"):
        resume(folder, ["trainer.max_epochs=9"])


def test_a_mistake_in_an_override_is_not_stored(finished: Finished) -> None:
    folder = finished(*TINY, "trainer.max_epochs=3", "trainer.limit_train_batches=2")
    stored = (folder / "config.yaml").read_text()
    (folder / "report.json").unlink()
    with pytest.raises(UserError, match=r"trainer\.max_epochs: got 1, but the run has already trained 3 epochs"):
        resume(folder, ["trainer.max_epochs=1", "checkpoint.every_n_steps=7"])
    with pytest.raises(UserError, match=r"trainer\.precision: cannot change when a run is resumed"):
        resume(folder, ["trainer.precision=bf16-mixed"])
    assert (folder / "config.yaml").read_text() == stored


def test_changed_photos_are_noticed(finished: Finished, tmp_path: Path) -> None:
    write_folder(tmp_path / "photos")
    folder = finished(
        *TINY, "data=folder", f"data.root={tmp_path}/photos", f"data.cache={tmp_path}/c", "data.shape=[3,4,4]"
    )
    shutil.copy(tmp_path / "photos/cat/00.png", tmp_path / "photos/cat/new.png")
    with pytest.raises(UserError, match="data: the files have changed since this run began"):
        resume(folder, ["trainer.max_epochs=9"])


def test_missing_metrics_are_reported(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    folder = finished(*TINY)
    (folder / "metrics.csv").unlink()
    resume(folder, ["trainer.max_epochs=3"])
    assert "metrics.csv: has the metrics of 0 epochs, but the run has trained 2" in capsys.readouterr().err


def test_init_from_a_run_with_another_split_warns(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    first = finished(*TINY)
    finished(*TINY, f"init_from={first}")
    assert "warning" not in capsys.readouterr().err
    finished(*TINY, f"init_from={first}", "seed=1")
    assert "init_from: that run split its data with data.seed=0" in capsys.readouterr().err
