"""report.json and origin.json: what they say, and what happens if they are damaged."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from leyden.errors import UserError
from leyden.records import report as report_module
from leyden.records.json_files import read_origin, read_report
from leyden.records.loggers import MetricsCSV, read_metrics
from leyden.records.report import metrics_table, write_origin, write_report

REPORT: dict[str, Any] = {
    "name": "diabetes-mlp",
    "state": "finished",
    "objective": {"metric": "val/rmse", "mode": "min", "best": 55.25, "epoch": 3},
    "metrics": {"val/loss": 0.5, "val/mae": 44.0, "val/rmse": 55.25, "test/loss": 0.6, "test/rmse": 2931.4},
    "epochs": 4,
}


def test_the_table_has_a_column_for_each_metric_of_the_run() -> None:
    table = metrics_table(REPORT)
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert list(columns) == ["", "loss", "rmse", "mae"]
    assert columns["rmse"] == ["55.2500", "2,931.4"]
    assert columns["mae"] == ["44.0000", ""]


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_report(tmp_path) is None
    write_report(tmp_path, {**REPORT, "odd": {"nan": float("nan"), "list": [float("inf"), 1.0]}})
    report = read_report(tmp_path)
    assert report is not None
    assert report.items() >= REPORT.items()
    assert report["odd"] == {"nan": None, "list": [None, 1.0]}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"objective": 3}', "\x00", '{"a": ' * 100_000])
def test_a_damaged_report_is_named_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(UserError, match=r"report\.json: (is damaged|cannot be read)") as caught:
        read_report(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{}", '{"command": "x"}'])
def test_a_damaged_origin_is_named_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "origin.json").write_text(text)
    with pytest.raises(UserError, match=r"origin\.json: "):
        read_origin(tmp_path)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git clone with one commit, in the place of Leyden's."""
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "code.py").write_text("one\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(clone), *command], check=True)
    monkeypatch.setattr(report_module, "ROOT", clone)
    return clone


def test_a_clean_clone_has_no_diff(clone: Path, tmp_path: Path) -> None:
    write_origin(tmp_path)
    origin = read_origin(tmp_path)
    assert len(origin["git"]["commit"]) == 40
    assert origin["git"]["dirty"] is False
    assert not (tmp_path / "uncommitted.diff").exists()


def test_changed_and_new_files_are_in_the_diff(clone: Path, tmp_path: Path) -> None:
    (clone / "code.py").write_text("two\n")
    (clone / "net.py").write_text("class Net:\n    pass\n")
    (clone / "image.bin").write_bytes(b"\x00\x01")
    write_origin(tmp_path)
    difference = (tmp_path / "uncommitted.diff").read_text()
    assert "-one\n+two\n" in difference
    assert "+++ b/net.py\n@@ -0,0 +1,2 @@\n+class Net:\n+    pass\n" in difference
    assert "a/image.bin b/image.bin\nnew file, binary" in difference
    assert json.loads((tmp_path / "origin.json").read_text())["git"]["dirty"] is True


def test_what_git_does_not_say_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "ROOT", tmp_path)
    write_origin(tmp_path)
    assert read_origin(tmp_path)["git"] == {"commit": None, "dirty": None}


class TestMetrics:
    def test_a_resumed_run_keeps_the_rows_before_its_first_step(self, tmp_path: Path) -> None:
        logger = MetricsCSV(tmp_path)
        for step in (9, 19, 29):
            logger.log_metrics({"train/loss": step / 10, "epoch": step // 10}, step)
        resumed = MetricsCSV(tmp_path, first_step=20)
        resumed.log_metrics({"train/loss": 5.0, "val/acc": 0.5, "epoch": 2}, 29)
        rows = read_metrics(tmp_path / "metrics.csv")
        assert [(row["step"], row["train/loss"], row["val/acc"]) for row in rows] == [
            ("9", "0.9", ""), ("19", "1.9", ""), ("29", "5.0", "0.5"),
        ]  # fmt: skip

    @pytest.mark.parametrize("content", [b"epoch,step\n1\n", b"epoch,step\n1,x\n", b"\xff\xfe", b"a,b\n1,2,3\n"])
    def test_a_damaged_file_is_named(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "metrics.csv").write_bytes(content)
        with pytest.raises(UserError, match=r"metrics\.csv: is damaged"):
            read_metrics(tmp_path / "metrics.csv")
