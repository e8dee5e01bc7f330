"""The comparison of a training from scratch with one from a pretrained net, in a small form."""

import json
from pathlib import Path

import pytest

from scripts import compare_labels
from scripts.compare_labels import Comparison, curve, reached


def write_run(folder: Path, seed: int, knn: list[float]) -> Path:
    folder.mkdir(parents=True)
    metrics = {"test/knn_acc": 0.9, "test/probe_acc": 0.95, "test/acc": 0.8 + seed / 10}
    objective = {"metric": "val/knn_acc", "best": 0.75}
    found = {"objective": objective, "seed": seed, "metrics": metrics, "seconds": {"training": 120.0}}
    (folder / "report.json").write_text(json.dumps(found), encoding="utf-8")
    rows = [f"{epoch},{value},0.5" for epoch, value in enumerate(knn)] + ["9,,"]
    (folder / "metrics.csv").write_text("\n".join(["step,val/knn_acc,val/probe_acc", *rows, ""]), encoding="utf-8")
    return folder


def test_tables_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [write_run(tmp_path / f"pre/runs/x/{seed}", seed, [0.5 + seed / 10, 0.75]) for seed in (0, 1)]
    text = curve(Comparison("few", "pre", "few"), folders)
    assert text.splitlines()[0] == "| pretraining, 2 min | epoch 1 | epoch 2 | test, all labels |"
    assert text.splitlines()[2] == "| `val/knn_acc` | 55.0 ± 7.1% | 75.0 ± 0.0% | 90.00 ± 0.00% |"
    reports = [json.loads((folder / "report.json").read_text()) for folder in folders]
    assert reached(reports) == ("85.00 ± 7.07%", "120 s")
    monkeypatch.setattr(compare_labels, "report", lambda *arguments: None)
    assert compare_labels.pretrain(Comparison("few", "pre", "few"), tmp_path, [], 1) == folders[1]
