"""Batch sizes: which fit, and which is fastest."""

import json
import sys
from pathlib import Path

import pytest
import torch

from leyden.errors import UserError
from leyden.tools import find_batch_size
from leyden.tools.find_batch_size import BatchSizes, Measurement, best
from scripts import find_batch_size as script

FAST = ("data=digits", "model=mlp", "model.hidden=[8]", "trainer.accelerator=cpu")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_batch_size, "MIN_SECONDS", 0.01)


def test_each_size_is_twice_the_one_before() -> None:
    sizes = BatchSizes(FAST, 100, 500)
    found = list(sizes)
    assert [one.batch_size for one in found] == [100, 200, 400]
    assert all(one.rate > 0 and one.seconds > 0 for one in found)
    assert found[0].rate * found[0].seconds == pytest.approx(100, rel=0.5)
    assert sizes.reason == "--max is 500"


def test_no_batch_is_larger_than_the_training_split() -> None:
    sizes = BatchSizes([*FAST, "data.limit=0.1"], 64)
    (found, *_) = list(sizes)
    assert found.batch_size == 64
    assert sizes.reason.startswith("the training split has 1")
    assert [one.batch_size for one in BatchSizes([*FAST, "data.limit=0.1"], 5000)] == [sizes.training.num_samples]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not report the memory")
def test_the_memory_of_the_process_is_limited() -> None:
    sizes = BatchSizes(FAST, 100, 1000, memory=1000)
    assert [one.batch_size for one in sizes] == [100]
    assert sizes.reason.startswith("200 would need about ")


def test_a_size_that_does_not_fit_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = BatchSizes(FAST, 100)
    train = sizes.training.train

    def limited(callbacks: list[object], max_steps: int) -> None:
        if sizes.training.data.batch_size > 200:
            raise errors.pop()
        train(callbacks, max_steps)  # type: ignore[arg-type]

    monkeypatch.setattr(sizes.training, "train", limited)
    errors = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
    assert [one.batch_size for one in sizes] == [100, 200]
    assert sizes.reason == "400 does not fit into the memory of the device"
    assert sizes.measure(400) is None


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = BatchSizes(FAST, 100)
    monkeypatch.setattr(sizes.training, "train", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        list(sizes)


def test_the_best_is_the_smallest_of_the_fast_ones() -> None:
    found = [Measurement(size, rate, 1.0, None) for size, rate in ((8, 50), (16, 96), (32, 100), (64, 90))]
    assert best(found).batch_size == 16


def test_mistakes() -> None:
    with pytest.raises(UserError, match="--min: got 0, must be at least 1"):
        BatchSizes(FAST, 0)
    with pytest.raises(UserError, match="--max: got 4, must be at least --min, here 8"):
        BatchSizes(FAST, 8, 4)


def test_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("scripts.find_batch_size.exit_on_signals", lambda: None)
    given = [*FAST, f"paths.logs={tmp_path / 'logs'}", "--min", "300", "--max", "600"]
    monkeypatch.setattr(sys, "argv", ["find_batch_size.py", *given])
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["300", "600"]
    assert lines[-1] in ("data.batch_size=300", "data.batch_size=600")
    monkeypatch.setattr(sys, "argv", ["find_batch_size.py", *given, "--json"])
    script.main()
    values = json.loads(capsys.readouterr().out)
    assert [one["batch_size"] for one in values["sizes"]] == [300, 600]
    assert not (tmp_path / "logs").exists()
