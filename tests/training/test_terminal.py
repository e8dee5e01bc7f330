"""Progress in a terminal and in a file."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FAST = ("model=mlp", "model.hidden=[8]", "trainer=smoke", "trainer.max_epochs=3")
LINE = r"epoch \d/3  train/loss \d\.\d+  val/acc \d\.\d+  val/loss \d\.\d+  \d+\.\d s"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_past_epochs_stay_above_the_bar_and_count_from_1(
    finished: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stdout", terminal)
    finished(*FAST)
    monkeypatch.undo()
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()).replace("\r", "\n").splitlines()
    past = [line for line in lines if line.startswith("epoch ")]
    assert [line.split()[1] for line in past] == ["1/3", "2/3", "3/3"]
    assert all(re.fullmatch(LINE, line) for line in past)
    bars = {line.split()[1] for line in lines if line.startswith("Epoch ")}
    assert bars == {"1/3", "2/3", "3/3"}


def test_a_file_gets_only_the_lines(finished: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    finished(*FAST)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.lower().startswith("epoch")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all(re.fullmatch(LINE, line) for line in lines)
