"""The HTML page of a run or a sweep: its structure and its numbers, from folders that the tests write."""

import json
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from leyden.errors import UserError
from leyden.tools.page.class_tables import wilson
from leyden.tools.page.elements import VOID
from leyden.tools.page.files import MAX_POINTS, read_curves
from leyden.tools.report_page import page, write_page
from scripts import report as script
from tests.tools.report_folders import CONFUSION, make_report, write_images, write_png_file, write_run, write_sweep


class Page(HTMLParser):
    """A parsed page: its elements with their attributes, its tables and its visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.words: list[str] = []
        self.caption: str | None = None
        self.feed(text)
        self.close()
        assert self.open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "caption":
            self.caption = ""
        if tag == "tr":
            self.tables[self.caption or ""].append([])
        if tag in ("td", "th"):
            self.tables[self.caption or ""][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "caption":
            self.tables[self.caption or ""] = []

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)
        if "caption" in self.open:
            self.caption = f"{self.caption}{data}"
        elif {"td", "th"} & set(self.open):
            self.tables[self.caption or ""][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("runs") / "RUN", "optimizer.lr=0.01", report=make_report())
    write_images(folder)
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(tmp_path_factory.mktemp("sweeps") / "NAME")


@pytest.fixture(scope="module")
def pages(run: Path, sweep: Path) -> dict[str, str]:
    return {"run": page(run), "sweep": page(sweep)}


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_the_page_needs_nothing_else(pages: dict[str, str], kind: str) -> None:
    text, parsed = pages[kind], Page(pages[kind])
    for _, attributes in parsed.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"https?:|url\(|@import|<link|<iframe|<object|<embed", text)
    assert "default-src 'none'" in text


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_the_page_can_be_read_with_a_screen_reader(pages: dict[str, str], kind: str) -> None:
    parsed = Page(pages[kind])
    assert parsed.all("html") == [{"lang": "en"}]
    assert [len(parsed.all(name)) for name in ("main", "nav", "h1", "title")] == [1, 1, 1, 1]
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(parsed.all("caption")) == len(parsed.all("table")) > 3
    assert all(attributes["scope"] in ("row", "col") for attributes in parsed.all("th"))
    for svg in parsed.all("svg"):
        assert svg.get("aria-hidden") == "true" or (svg["role"] == "img" and svg["aria-label"])
    assert all(image["alt"] for image in parsed.all("img"))
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [link["href"] for link in parsed.all("a")] == [f"#{name}" for name in ids]


def test_the_numbers_of_a_run(pages: dict[str, str]) -> None:
    parsed = Page(pages["run"])
    metrics = parsed.tables["Metrics of the best epoch"]
    assert metrics[0] == ["metric", "validation (n = 30)", "test (n = 20)"]
    low, high = wilson(0.85, 20)
    assert metrics[1] == ["acc", f"0.9000 ({wilson(0.9, 30)[0]:.4f} to {wilson(0.9, 30)[1]:.4f})",
                          f"0.8500 ({low:.4f} to {high:.4f})"]  # fmt: skip
    assert metrics[2] == ["loss", "0.4000", "0.5000"]
    assert "overrides" not in parsed.text  # the command has them
    assert (round(low, 4), round(high, 4)) == (0.6396, 0.9476)  # by hand: 0.7936 ± 0.1540
    classes = parsed.tables["Classes on the test set"]
    assert classes[1] == ["0", "10", "0.8889", "0.8000", "0.8421", "1 (2)"]  # precision 8/9, recall 8/10, F1 16/19
    assert classes[3] == ["2", "4", "1.0000", "1.0000", "1.0000", "–"]
    matrix = next(rows for caption, rows in parsed.tables.items() if caption.startswith("Confusion matrix"))
    assert [[int(count) for count in row[1:]] for row in matrix[1:]] == CONFUSION
    assert parsed.tables["Most frequent errors on the test set"][1] == ["0", "1", "2", "20.0%"]
    assert parsed.tables["loss per epoch"] == [
        ["epoch", "train", "validation"],
        ["1", "2.0000", "1.5000"],
        ["2", "1.5000", "1.0000"],
        ["3", "1.0000", "0.5000"],
    ]
    assert "Digits: 100 train, 30 val, 20 test" in parsed.text
    assert "best epoch: 2" in parsed.text
    assert "4.2 s" in parsed.text


def test_the_numbers_of_each_class_and_label(tmp_path: Path) -> None:
    report = make_report(per_class={"auroc": [0.75, None, 0.5]})
    rows = Page(page(write_run(tmp_path / "classes", report=report))).tables["Classes on the test set"]
    assert rows[0] == ["class", "n", "precision", "recall", "F1", "AUROC", "most often confused with"]
    assert [row[5] for row in rows[1:]] == ["0.7500", "–", "0.5000"]

    scores = {"support": [12, 0], "precision": [0.5, 0], "recall": [1, 0], "f1": [2 / 3, 0], "auroc": [0.75, None]}
    report = make_report(confusion=None, thresholds=[0.5, 0.25], per_class=scores, absent_classes=["b"])
    shown = Page(page(write_run(tmp_path / "labels", report=report)))
    (rows,) = (rows for caption, rows in shown.tables.items() if caption.startswith("Labels on the test set"))
    assert rows == [
        ["label", "n", "precision", "recall", "F1", "AUROC", "threshold"],
        ["0", "12", "0.5000", "1.0000", "0.6667", "0.7500", "0.5000"],
        ["1", "0", "0", "0", "0", "–", "0.2500"],
    ]
    assert "Not in the test set: b." in shown.text
    for wrong in ({"auroc": [1, 2, 3]}, {"auroc": "high"}, [1], {"support": ["x", float("inf")]}):
        report = make_report(confusion=None, thresholds=[0.5, 0.25], per_class=wrong)
        Page(page(write_run(tmp_path / f"wrong {wrong}", report=report)))


def test_configuration_environment_and_use(pages: dict[str, str], run: Path) -> None:
    parsed = Page(pages["run"])
    different = parsed.tables["Keys with another value than the default"]
    assert different == [["key", "value", "default"], ["optimizer.lr", "0.01", "0.003"],
                         ["trainer.max_epochs", "3", "10"]]  # fmt: skip
    for text in ("f1225ba8ed670353d84f57b93f2bf5721f8c34bd", "with changes that were not committed", "cpu (x86_64",
                 "python train.py data=digits model=mlp", "RUN=path/to/RUN", "scripts/predict.py $RUN image.png",
                 "python train.py resume=$RUN", 'leyden.load("path/to/RUN")'):  # fmt: skip
        assert text in parsed.text
    assert str(run.parent) not in pages["run"]
    assert ["model.hidden", "[256, 128]"] in parsed.tables["Every key of config.yaml"]


def test_folders_of_the_machine_are_not_shown(tmp_path: Path) -> None:
    overrides = ("paths.data=/home/somebody/secret/data", "paths.logs=/home/somebody/logs")
    folder = write_run(tmp_path / "RUN", *overrides, report=make_report())
    text = page(folder)
    assert "somebody" not in text
    assert "…/data" in text
    origin = json.loads((folder / "origin.json").read_text())
    origin["command"] += " paths.data=/home/somebody/secret/data"
    (folder / "origin.json").write_text(json.dumps(origin))
    assert "/home/somebody/secret/data" in page(folder)


def test_images_are_embedded(pages: dict[str, str], tmp_path: Path) -> None:
    captions = [image["alt"] for image in Page(pages["run"]).all("img")]
    assert captions == ["evaluation, test: most confident errors", "samples, epoch 1", "samples, epoch 10"]
    folder = write_run(tmp_path / "RUN")
    write_png_file(folder / "samples" / "epoch_0001.png")
    write_png_file(folder / "projector" / "sprite.png")
    outside = tmp_path / "outside"
    write_png_file(outside / "secret.png")
    (folder / "linked").symlink_to(outside)
    with pytest.raises(UserError, match="linked: is a symbolic link"):
        page(folder)
    (folder / "linked").unlink()
    (folder / "samples" / "linked.png").symlink_to(outside / "secret.png")
    (folder / "samples" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    huge = (outside / "secret.png").read_bytes()
    (folder / "samples" / "huge.png").write_bytes(huge[:16] + b"\0\0\x4e\x20" * 2 + huge[24:])  # 20,000 pixels
    parsed = Page(page(folder))
    assert [image["alt"] for image in parsed.all("img")] == ["samples, epoch 1"]
    assert "3 further images are left out" in parsed.text


def test_texts_of_the_folder_do_not_become_markup(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>\x1b[2J\u202e"
    metrics = {"val/acc": 0.5, f"test/{bad}": 0.5, "val/loss": 1.0}
    origin = {"command": bad, "versions": {bad: bad}, "git": {"commit": bad, "dirty": True}}
    data = {"name": bad, "sizes": {bad: 3}, "verified": True}
    report = make_report(metrics=metrics, device=bad, data=data, absent_classes=[bad], extra={bad: bad}, **origin)
    folder = write_run(tmp_path / "RUN", f"+model.extra='{bad[:8]}'", report=report, name=bad)
    (folder / "origin.json").write_text(json.dumps(origin))
    lines = (folder / "metrics.csv").read_text().replace("val/acc", f'"val/{bad.replace(chr(34), "")}"')
    (folder / "metrics.csv").write_text(lines)
    write_png_file(folder / "<img src=x>" / "epoch_0001.png")
    text = page(folder)
    parsed = Page(text)
    assert len(parsed.all("script")) == 1
    assert all((image["src"] or "").startswith("data:image/png") for image in parsed.all("img"))
    assert not any("onerror" in attributes for _, attributes in parsed.elements)
    assert "<script>alert(1)</script>" in parsed.text
    assert not {"\x1b", "\u202e"} & set(text)


@pytest.mark.parametrize("report", [None, make_report(state="pruned", metrics={"val/acc": 0.4}, confusion=None)])
def test_runs_that_are_not_finished_show_what_is_there(tmp_path: Path, report: dict[str, object] | None) -> None:
    folder = write_run(tmp_path / "RUN", report=report)
    (folder / "output.log").write_text("epoch 1\nerror: data: <gone>\n")
    parsed = Page(page(folder))
    assert ("unfinished" if report is None else "pruned") in parsed.text
    assert "loss per epoch" in parsed.tables
    assert ("error: data: <gone>" in parsed.text) == (report is None)
    (folder / "metrics.csv").unlink()
    (folder / "origin.json").unlink()
    assert "loss per epoch" not in Page(page(folder)).tables


def test_long_curves_are_thinned(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "RUN")
    rows = [f"{step // 100},{step},{1 / (step + 1)},{'nan' if step % 2 else ''}" for step in range(30_000)]
    (folder / "metrics.csv").write_text("\n".join(["epoch,step,train/loss,val/loss", *rows]) + "\n")
    curves = read_curves(folder)
    points = curves["train/loss"].all()
    assert MAX_POINTS <= len(points) <= 2 * MAX_POINTS + 1
    assert points[0] == (1, 0, 1.0)
    assert points[-1] == (300, 29_999, 1 / 30_000)
    assert curves["val/loss"].left_out == 15_000
    text = page(folder)
    assert "Values that are not finite are left out: val/loss." in Page(text).text
    assert len(text) < 200_000


def test_the_numbers_of_a_sweep(pages: dict[str, str]) -> None:
    parsed = Page(pages["sweep"])
    trials = parsed.tables["All trials"]
    assert trials[0] == ["trial", "state", "val/acc", "optimizer.lr", "model", "seconds", "reason"]
    assert trials[1] == ["0", "done", "0.6000", "0.0010", "mlp", "10", ""]
    assert trials[5] == ["4", "failed", "–", "0.1000", "mlp", "14", "out of <memory>"]
    assert parsed.tables["val/acc for each value of model"][1:] == [
        ["cnn", "3", "0.7500", "0.1000"],
        ["mlp", "2", "0.6500", "0.0707"],
    ]
    bars = next(rows for caption, rows in parsed.tables.items() if caption.startswith("Fraction of the objective"))
    assert [(row[0], row[2]) for row in bars[1:]] == [("optimizer.lr", "0.75"), ("model", "0.25")]
    assert "Trial 5: val/acc 0.8500 (n = 1)" in parsed.text
    assert "python train.py data=digits model=cnn" in parsed.text
    labels = [svg.get("aria-label") or "" for svg in parsed.all("svg")]
    assert any("The best trial has val/acc 0.8500 with optimizer.lr 0.1000, model cnn" in label for label in labels)
    assert sum("trial shade-" in (line.get("class") or "") for line in parsed.all("polyline")) == 5


def test_a_sweep_that_runs_shows_the_trials_of_its_folders(tmp_path: Path) -> None:
    parsed = Page(page(write_sweep(tmp_path / "NAME", finished=False)))
    trials = parsed.tables["All trials"]
    assert trials[0] == ["trial", "state", "val/acc", "optimizer.lr", "model", "seconds"]
    assert trials[1] == ["0", "done", "0.6000", "0.0010", "mlp", "–"]
    assert trials[5] == ["4", "not finished", "–", "0.1000", "mlp", "–"]
    assert "unfinished" in parsed.text


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("report.json", b"{"),
        ("report.json", b'{"metrics": {}}'),
        ("report.json", b"[" * 100_000),
        ("report.json", b'{"state": "finished", "metrics": {"a": ' + b"9" * 5000 + b"}}"),
        ("origin.json", b"[]"),
        ("config.yaml", b"{"),
        ("config.yaml", b"seed: 1\n"),
        ("metrics.csv", b"\xff\xfe"),
        ("metrics.csv", b"epoch,step,val/acc\n1,2\n"),
        ("metrics.csv", b"epoch,step,val/acc\n1,2,many\n"),
        ("metrics.csv", b"epoch,step,val/acc\ninf,2,1\n"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, file: str, content: bytes) -> None:
    folder = write_run(tmp_path / "RUN", report=make_report())
    (folder / file).write_bytes(content)
    with pytest.raises(UserError) as error:
        page(folder)
    assert str(folder / file) in str(error.value)
    assert "\n" not in str(error.value)


def test_strange_values_do_not_break_the_page(tmp_path: Path) -> None:
    strange = {"confusion": [[1, 2], [3]], "absent_classes": 3, "thresholds": ["x"], "images_per_second": "fast"}
    strange |= {"data": [], "git": None, "versions": 7, "max_epochs": None, "seed": [], "device": {}}
    objective = {"metric": "val/acc", "mode": "max", "best": float("nan"), "epoch": "last"}
    report = make_report(
        **strange, objective=objective, metrics={"val/acc": None, "val/loss": float("inf"), "x": 1e300}
    )
    folder = write_run(tmp_path / "RUN", report=report)
    Page(page(folder))
    sweep = write_sweep(tmp_path / "SWEEP")
    summary = json.loads((sweep / "sweep.json").read_text())
    summary |= {"best": [{"values": 3, "std": [], "trials": "x"}, 4], "importances": {"a": "b"}, "n_trials": "many"}
    (sweep / "sweep.json").write_text(json.dumps(summary))
    Page(page(sweep))


def test_a_folder_that_is_neither_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    for folder, reason in ((tmp_path, "has neither config.yaml nor sweep.json"), (tmp_path / "x", "does not exist")):
        monkeypatch.setattr(sys, "argv", ["report.py", str(folder)])
        with pytest.raises(SystemExit) as ended:
            script.main()
        assert ended.value.code == 2
        assert capsys.readouterr().err == (
            f"error: {folder}: is neither a run folder nor the folder of a sweep (it {reason})\n"
        )


def test_the_page_is_written_completely_or_not_at_all(run: Path, sweep: Path, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    assert write_page(sweep) == sweep / "report.html"
    monkeypatch.setattr(sys, "argv", ["report.py", str(run), "--out", str(tmp_path / "page.html")])
    script.main()
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page(run)
    with pytest.raises(UserError, match=r"missing/page.html: cannot be written"):
        write_page(run, tmp_path / "missing" / "page.html")
    (tmp_path / "link.html").symlink_to(tmp_path / "page.html")
    with pytest.raises(UserError, match="is a symbolic link"):
        write_page(run, tmp_path / "link.html")
