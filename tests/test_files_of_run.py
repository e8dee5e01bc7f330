"""Files that a data set puts into the run folder, and who reads them again."""

from collections.abc import Callable
from pathlib import Path

import pytest

import leyden
from leyden.data.digits import Digits
from leyden.errors import UserError
from leyden.run import resume
from leyden.tools.evaluate import evaluate
from leyden.tools.export import export
from tests.conftest import power_cut, small

SMALL = (*small("mlp"), "data=digits", "data.limit=0.1", "trainer.max_epochs=2", "trainer.accelerator=cpu")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What data=digits has read from run folders; it writes a file, as a data set of texts does."""
    found: list[str] = []
    monkeypatch.setattr(Digits, "files_of_run", lambda self: {"words.json": "[1]"})
    monkeypatch.setattr(Digits, "use_files_of_run", lambda self, read: found.append(read("words.json")))
    return found


def test_every_reader_of_a_run_gets_its_files(finished: Callable[..., Path], reads: list[str], tmp_path: Path) -> None:
    folder = finished(*SMALL)
    assert reads == []
    (folder / "words.json").write_text("[2]")
    leyden.load(folder)
    evaluate(folder, "val")
    finished(*SMALL, f"init_from={folder}")
    assert reads == ["[2]"] * 3
    (folder / "words.json").unlink()
    for reader in (leyden.load, evaluate):
        with pytest.raises(UserError, match=r"words.json: does not exist, but the model of this run needs it"):
            reader(folder)


def test_a_resumed_run_keeps_its_files(finished: Callable[..., Path], reads: list[str], tmp_path: Path) -> None:
    with power_cut():
        finished(*SMALL)
    (folder,) = (tmp_path / "logs" / "runs").glob("*/*")
    (folder / "words.json").write_text("[2]")
    resume(folder)
    assert reads == ["[2]"]
    assert (folder / "words.json").read_text() == "[2]"


def test_a_safetensors_file_contains_them(finished: Callable[..., Path], reads: list[str], tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    folder = finished(*SMALL)
    export(folder, tmp_path / "model.safetensors", "safetensors")
    (folder / "words.json").unlink()
    reads.clear()
    leyden.load(tmp_path / "model.safetensors")
    assert reads == ["[1]"]
