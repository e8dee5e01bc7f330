"""A user's own texts: formats of files, tasks, splits, and what is wrong with a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from leyden.config.builders import build_data as build
from leyden.config.compose import compose
from leyden.data import text_table
from leyden.data.text_files import TextFiles
from leyden.data.text_table import delimiter_of, read_labelled
from leyden.errors import UserError
from tests.conftest import sentence
from tests.data.building import build_data

TEXTS = [sentence(number) for number in range(30)]
LABELS = [("bad", "good")[number % 2] for number in range(30)]


def write(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def built(path: Path, *overrides: str) -> TextFiles:
    """The data set of a file, without a cache."""
    own = [f"data.path={path}", "data.max_tokens=12", "data.vocab_size=60", "data.cache=null"]
    data = build_data("text", *[f"data.classes={'[bad,good]'}", *own, *overrides])
    assert isinstance(data, TextFiles)
    return data


def composed(path: Path, *overrides: str) -> Any:
    return compose("model=bag", "data=text", f"data.path={path}", *overrides)


def csv_lines(labels: Sequence[str] = LABELS) -> list[str]:
    return ["id,text,label", *(f'{row},"{TEXTS[row]}",{label}' for row, label in enumerate(labels))]


class TestFormats:
    def check(self, path: Path, *overrides: str) -> None:
        found = composed(path, *overrides).data
        assert (found.classes, found.num_classes) == (["bad", "good"], 2)
        data = built(path, *overrides)
        assert list(data.found.texts) == TEXTS
        assert list(data.found.labels) == LABELS

    def test_csv(self, tmp_path: Path) -> None:
        self.check(write(tmp_path / "a.csv", csv_lines()))

    def test_csv_with_semicolons_and_other_names(self, tmp_path: Path) -> None:
        lines = ["opinion;what", *(f"{label};{text}" for text, label in zip(TEXTS, LABELS, strict=True))]
        self.check(write(tmp_path / "a.csv", lines), "data.text=what", "data.label=opinion")

    def test_tsv_without_a_header_by_position(self, tmp_path: Path) -> None:
        lines = [f"{label}\t{text}" for text, label in zip(TEXTS, LABELS, strict=True)]
        self.check(write(tmp_path / "a.txt", lines), "data.header=false", "data.text=1", "data.label=0")

    def test_json_lines(self, tmp_path: Path) -> None:
        rows = [{"label": label, "text": text, "more": 1} for text, label in zip(TEXTS, LABELS, strict=True)]
        self.check(write(tmp_path / "a.jsonl", list(map(json.dumps, rows))))

    def test_parquet(self, tmp_path: Path) -> None:
        arrow = pytest.importorskip("pyarrow", reason='needs pyarrow: pip install -e ".[parquet]"')
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table({"text": TEXTS, "label": LABELS}), tmp_path / "a.parquet")
        self.check(tmp_path / "a.parquet")

    def test_class_folders_with_a_test_set(self, tmp_path: Path) -> None:
        for row, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True)):
            for split in ("train", "test")[: 1 + (row % 3 == 0)]:
                (tmp_path / split / label).mkdir(parents=True, exist_ok=True)
                write(tmp_path / split / label / f"{row:02}.txt", [text])
        assert composed(tmp_path).data.classes == ["bad", "good"]
        data = built(tmp_path)
        data.setup("test")
        assert data.sizes() == {"train": 27, "val": 3, "test": 10} or sum(data.sizes().values()) == 40
        assert data.count_test() == data.sizes()["test"] == 10

    def test_quotes_and_line_breaks_in_csv(self, tmp_path: Path) -> None:
        write(tmp_path / "a.csv", ["text,label", '"a ""b"", c', 'second line",x', "d,y"])
        found = read_labelled(str(tmp_path / "a.csv"), True, "text", "label")
        assert found.texts == ('a "b", c\nsecond line', "d")
        assert found.place(1) == f"line 4 of {tmp_path / 'a.csv'}"

    def test_quotes_are_ordinary_characters_in_a_plain_tsv(self, tmp_path: Path) -> None:
        write(tmp_path / "a.tsv", ['"a\tx', 'b"\ty'])
        assert read_labelled(str(tmp_path / "a.tsv"), False, 0, 1).texts == ('"a', 'b"')

    @pytest.mark.parametrize(
        ("first", "name", "delimiter"),
        [
            ("good\ta, b, c, d", "a.txt", "\t"),
            ("text,label", "a.tsv", "\t"),
            ('"a, b; c; d";x', "a.csv", ";"),
            ("a", "a.csv", ","),
        ],
    )
    def test_what_separates_values(self, first: str, name: str, delimiter: str) -> None:
        assert delimiter_of(first, Path(name)) == delimiter


class TestTasks:
    def test_few_whole_numbers_are_classes_and_other_numbers_are_regression(self, tmp_path: Path) -> None:
        stars = composed(write(tmp_path / "a.csv", csv_lines([str(1 + row % 5) for row in range(30)])))
        assert stars.task["_target_"].endswith("Classifier")
        assert stars.data.classes == ["1", "2", "3", "4", "5"]
        score = composed(write(tmp_path / "b.csv", csv_lines([str(row / 2) for row in range(30)])))
        assert score.task["_target_"].endswith("Regressor")
        assert (score.data.classes, score.data.num_classes, score.model.num_outputs) == ([], 0, 1)

    def test_numbers_are_targets(self, tmp_path: Path) -> None:
        path = write(tmp_path / "b.csv", csv_lines([str(row / 2) for row in range(30)]))
        data = built(path, "data.classes=[]", "task=regression")
        data.setup("test")
        assert data.train
        assert (data.train[1].dtype, data.train[1].shape[1:], data.target_kind) == (torch.float32, (1,), "numbers")
        scaling = data.facts().scaling
        assert scaling is not None
        assert float(scaling.target_mean) == pytest.approx(float(data.train[1].mean()))
        assert scaling.inputs(data.train[0]) is data.train[0], "token ids are not standardised"

    def test_several_labels(self, tmp_path: Path) -> None:
        labels = [
            ";".join(name for name, step in (("a", 1), ("b", 2), ("c", 3)) if row % step == 0) for row in range(30)
        ]
        path = write(tmp_path / "a.csv", csv_lines(labels))
        cfg = composed(path, "data.separator=;")
        assert (cfg.data.classes, cfg.model.num_outputs) == (["a", "b", "c"], 3)
        assert cfg.task["_target_"].endswith("Multilabel")
        data = built(path, "data.separator=;", "data.classes=[a,b,c]", "task=multilabel")
        data.setup("fit")
        assert data.target_kind == "labels"
        assert data.targets_of(data.found, "x")[:4].tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 1]]

    @pytest.mark.parametrize("task", ["classification", "regression", "multilabel"])
    def test_a_task_that_is_given_is_kept(self, tmp_path: Path, task: str) -> None:
        path = write(tmp_path / "a.csv", csv_lines([str(1 + row % 5) for row in range(30)]))
        cfg = composed(path, f"task={task}")
        assert cfg.data.num_classes == (0 if task == "regression" else 5)


class TestSplits:
    def test_the_split_of_a_text_depends_on_the_text(self, tmp_path: Path) -> None:
        lines = csv_lines()
        before, after = (
            write(tmp_path / name, rows) for name, rows in (("a.csv", lines), ("b.csv", lines[:1] + lines[5:]))
        )
        parts = []
        for path in (before, after):
            data = built(path)
            texts, _ = data.read_texts(train=False)
            parts.append(set(texts))
        assert parts[1] <= parts[0]
        assert 2 <= len(parts[0]) <= 12

    def test_a_file_of_its_own_is_the_test_set(self, tmp_path: Path) -> None:
        path, test = write(tmp_path / "a.csv", csv_lines()), write(tmp_path / "t.csv", csv_lines(LABELS[:4]))
        data = built(path, f"data.test_path={test}")
        data.setup("test")
        assert data.sizes()["test"] == data.count_test() == 4
        assert data.sizes()["train"] + data.sizes()["val"] == 30
        before = data.fingerprint()
        write(test, csv_lines(LABELS[:3]))
        assert built(path, f"data.test_path={test}").fingerprint() != before

    def test_a_class_that_would_not_be_trained(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", csv_lines([*LABELS[:-1], "rare"]))
        with pytest.raises(UserError, match=r"^data.label: the split leaves no text of class rare for training"):
            built(path, "data.classes=[bad,good,rare]").setup("fit")


def read(path: Path, *overrides: str) -> None:
    data = build(composed(path, "data.cache=null", "data.max_tokens=12", *overrides))
    data.prepare_data()
    data.setup("fit")


def wrong(tmp_path: Path, content: str | bytes, *overrides: str, name: str = "a.csv") -> str:
    """The error for a file, in which its path is FILE."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        read(path, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


class TestWrongFiles:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("text,label\n", "data.path: FILE has no rows"),
            ("", "data.text: got text, but the columns of FILE are none: the file is empty"),
            ("a,label\nx,y\n", "data.text: got text, but the columns of FILE are a, label"),
            ("text,b\nx,y\n", "data.label: got label, but the columns of FILE are text, b"),
            ("text,label\nx,y\n,z\n", "data.text: line 3 of FILE has an empty text. Remove the row"),
            ("text,label\nx,y\nx, \n", "data.label: line 3 of FILE has an empty label. Remove the row"),
            ("text,label\nx,y\nx,y,z\n", "data.path: line 3 of FILE has 3 values, but the first line has 2"),
            ("text,label\nx,y\nz,y\n", "data.label: FILE has 1 different labels, at least 2 are needed"),
            ("text,label\na\0,y\n", "data.path: line 2 of FILE contains a NUL character"),
            (
                b"text,label\nx,y\n\xe4,z\n",
                "data.path: line 3 of FILE is not UTF-8 (invalid continuation byte); save the file in UTF-8",
            ),
            (
                "text,text\nx,y\n",
                "data.path: FILE has two columns text. If it has no line of names, use data.header=false",
            ),
        ],
    )
    def test_csv(self, tmp_path: Path, content: str | bytes, message: str) -> None:
        assert wrong(tmp_path, content) == message

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ('{"text": "a"}', "data.path: line 2 of FILE has no label; it has text"),
            ("[1]", "data.path: line 2 of FILE is not a JSON object"),
            (
                '{"text": ["a"], "label": 1}',
                "data.path: text in line 2 of FILE must be a text or a number",
            ),
            ("{", "data.path: line 2 of FILE is not JSON (Expecting property name"),
        ],
    )
    def test_json_lines(self, tmp_path: Path, line: str, message: str) -> None:
        assert wrong(tmp_path, f'{{"text": "a", "label": "b"}}\n{line}\n', name="a.jsonl").startswith(message)

    def test_a_very_long_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(text_table, "MAX_LINE", 100)
        found = wrong(tmp_path, f"text,label\nx,y\n{'z' * 101},y\n")
        assert found == "data.path: line 3 of FILE has more than 100 characters"

    def test_a_huge_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(text_table, "MAX_BYTES", 100)
        assert wrong(tmp_path, "x" * 101) == "data.path: FILE has 101 bytes, the limit is 100 bytes"

    def test_a_label_that_occurs_only_in_the_test_set(self, tmp_path: Path) -> None:
        test = write(tmp_path / "test.csv", ["text,label", "x,ugly"])
        data = built(write(tmp_path / "a.csv", csv_lines()), f"data.test_path={test}")
        with pytest.raises(UserError) as caught:
            data.prepare_data()
        where = f"data.test_path: line 2 of {test} has the label 'ugly'"
        assert str(caught.value) == f"{where}, but the labels of the training are bad, good"

    def test_a_vocabulary_of_one(self, tmp_path: Path) -> None:
        lines = ["text,label", *(f"{'aaaa'[: 1 + row % 3]},{label}" for row, label in enumerate(LABELS))]
        found = wrong(tmp_path, "\n".join(lines), "data.tokenizer=characters", "data.vocab_size=60")
        assert found == "data: the training texts have 1 different characters, at least 2 are needed"

    def test_folders(self, tmp_path: Path) -> None:
        (tmp_path / "one").mkdir()
        with pytest.raises(UserError, match=r"^data.path: .* contains only one class folder, one; it must contain one"):
            composed(tmp_path)
        (tmp_path / "two").mkdir()
        with pytest.raises(UserError, match=r"^data.path: .* contains no .txt files in class folders$"):
            built(tmp_path, "data.classes=[one,two]").setup("fit")
        write(tmp_path / "one" / "a.txt", [" "])
        with pytest.raises(UserError, match=r"^data.path: .*a.txt is empty. Remove the file$"):
            built(tmp_path, "data.classes=[one,two]").setup("fit")

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"^data.path: there is no file .*missing.csv$"):
            composed(tmp_path / "missing.csv")
