"""A user's own table: what its columns become, its splits, and one line for each mistake."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.datasets import load_diabetes

import leyden
from leyden.config.builders import build_data
from leyden.config.compose import compose
from leyden.config.stored import upgraded
from leyden.data.table import Table
from leyden.errors import UserError
from leyden.tools.evaluate import evaluate
from leyden.tools.export import export
from leyden.tools.export_formats import read_torch
from leyden.tools.model_card import model_card

FLOWERS = """\
petal,colour,code,name,species
1.5,red,1,a,setosa
2.5,blue,2,b,virginica
,red,1,c,setosa
4.5,NA,2,d,virginica
5.5,blue,10,e,setosa
6.5,red,10,f,virginica
"""


def write(folder: Path, text: str = FLOWERS, name: str = "own.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def table(path: Path, *overrides: str) -> Table:
    data = build_data(compose("model=mlp", "data=table", f"data.path={path}", *overrides))
    assert isinstance(data, Table)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return data


def many(path: Path, num: int) -> Path:
    rows = [f"{number % 17},{number},{'ab'[number % 2]}" for number in range(num)]
    return write(path, "\n".join(["x,y,target", *rows]))


class TestColumns:
    def test_numbers_categories_and_columns_that_are_left_out(self, tmp_path: Path) -> None:
        options = ["data.target=species", "data.categorical=[code]", "data.max_categories=5", "data.test_fraction=0.3"]
        data = table(write(tmp_path), *options)
        assert data.schema == {"petal": [], "colour": ["blue", "red"], "code": ["1", "10", "2"]}, "not name: 6 texts"
        assert data.classes == ["setosa", "virginica"]
        inputs, targets = data._encoded(data.raw, "data.path")
        expected = torch.tensor(
            [[1.5, 0, 1, 1, 0, 0], [2.5, 1, 0, 0, 0, 1], [torch.nan, 0, 1, 1, 0, 0], [4.5, 0, 0, 0, 0, 1],
             [5.5, 1, 0, 0, 1, 0], [6.5, 0, 1, 0, 1, 0]]
        )  # fmt: skip
        assert torch.equal(inputs.nan_to_num(-1), expected.nan_to_num(-1))
        assert targets.tolist() == [0, 1, 0, 1, 0, 1]
        assert data.input_names() == ("petal", "colour=blue", "colour=red", "code=1", "code=10", "code=2")

    def test_ignored_columns(self, tmp_path: Path) -> None:
        data = compose("data=table", f"data.path={write(tmp_path)}", "data.target=species", "data.ignore=[code,name]")
        assert data.data.schema == {"petal": [], "colour": ["blue", "red"]}

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
    def test_formats(self, tmp_path: Path, delimiter: str, encoding: str) -> None:
        text = FLOWERS.replace("red", "grün").replace(",", delimiter)
        path = write(tmp_path, text, encoding=encoding)
        assert compose("data=table", f"data.path={path}", "data.target=species").data.schema.colour == ["blue", "grün"]

    def test_a_file_without_names(self, tmp_path: Path) -> None:
        path = write(tmp_path, FLOWERS.partition("\n")[2])
        cfg = compose("data=table", f"data.path={path}", "data.header=false", "data.target=4", "data.ignore=[3]")
        assert list(cfg.data.schema) == ["0", "1", "2"]
        assert cfg.data.classes == ["setosa", "virginica"]

    @pytest.mark.parametrize(
        ("target", "task"),
        [("petal", "Regressor"), ("colour", "Classifier"), ("code", "Classifier"), ("species", "Classifier")],
    )
    def test_the_target_chooses_the_task(self, tmp_path: Path, target: str, task: str) -> None:
        overrides = ["data=table", f"data.path={write(tmp_path)}", f"data.target={target}"]
        assert compose(*overrides).task._target_.endswith(task)
        assert compose(*overrides, "task=regression").task._target_.endswith("Regressor")

    def test_classes_that_are_numbers_are_in_their_order(self, tmp_path: Path) -> None:
        cfg = compose("data=table", f"data.path={write(tmp_path)}", "data.target=code")
        assert cfg.data.classes == ["1", "2", "10"]


class TestValues:
    def test_statistics_are_those_of_the_training_split(self, tmp_path: Path) -> None:
        data = table(many(tmp_path, 400), "data.clip=0")
        assert data.train is not None
        assert data.test is not None
        assert data.statistics is not None
        inputs, _ = data.train
        assert data.statistics["mean"] == pytest.approx(inputs.mean(0).tolist())
        standardised = data.transform(torch.device("cpu"))(inputs)
        assert standardised.mean(0).tolist() == pytest.approx([0, 0], abs=1e-5)
        assert standardised.std(0, correction=0).tolist() == pytest.approx([1, 1], abs=1e-5)

    def test_a_rare_category_is_not_clipped(self, tmp_path: Path) -> None:
        rows = [f"{number},{'rare' if number == 3 else 'usual'},{'ab'[number % 2]}" for number in range(300)]
        data = table(write(tmp_path, "\n".join(["x,kind,target", *rows])), "data.clip=0.05")
        row = data.transform(torch.device("cpu"))(data.encode({"x": 0, "kind": "rare"})[None])
        usual = data.transform(torch.device("cpu"))(data.encode({"x": 0, "kind": "usual"})[None])
        assert not torch.equal(row, usual)

    def test_a_row_is_encoded_as_in_the_file(self, tmp_path: Path) -> None:
        data = table(write(tmp_path), "data.target=species", "data.test_fraction=0.3")
        inputs, _ = data._encoded(data.raw, "data.path")
        assert torch.equal(data.encode({"petal": 2.5, "colour": "blue", "code": 2, "name": "b"}), inputs[1])
        assert torch.equal(data.encode([None, " red ", "1", "c"]).nan_to_num(-1), inputs[2].nan_to_num(-1))
        assert data.encode([1, "a new colour", 1, "a"])[1:3].tolist() == [0, 0]
        with pytest.raises(UserError, match=r"^row: petal is 'long', must be a number"):
            data.encode(["long", "red", 1, "a"])
        with pytest.raises(UserError, match=r"^row: column code is missing; the columns are petal, colour, code"):
            data.encode({"petal": 1, "colour": "red"})

    def test_numbers_are_spelled_as_the_categories_are(self, tmp_path: Path) -> None:
        path = write(tmp_path, FLOWERS.replace(",1,", ",1.0,").replace(",2,", ",2.0,"))
        data = table(
            path, "data.target=species", "data.categorical=[code]", "data.test_fraction=0.3", "data.ignore=[3]"
        )
        assert data.schema["code"] == ["1.0", "10", "2.0"]
        for value, position in ((1, 0), (1.0, 0), ("1.0", 0), (10.0, 1), (np.float32(2), 2), (np.int64(2), 2)):
            assert data.encode([0, "red", value])[-3:].tolist() == [float(place == position) for place in range(3)]


class TestEmbedded:
    """Categories as codes, which the net replaces by vectors."""

    def test_a_category_is_one_input_with_its_code(self, tmp_path: Path) -> None:
        options = ["data.target=species", "data.test_fraction=0.3", "data.ignore=[name]", "data.categories=embedded"]
        data = table(write(tmp_path), *options)
        assert (list(data.category_sizes), list(data.shape)) == ([0, 2, 0], [3])
        assert data.input_names() == ("petal", "colour", "code")
        assert data.codes() == {"colour": {"blue": 1, "red": 2}}
        inputs, _ = data._encoded(data.raw, "data.path")
        assert inputs[:, 1].tolist() == [2, 1, 2, 0, 1, 2]
        assert data.encode({"petal": 1, "colour": "a new colour", "code": 1})[1] == 0
        assert data.transform(torch.device("cpu"))(inputs)[:, 1].tolist() == inputs[:, 1].tolist(), "codes stay"

    def test_a_trained_model_predicts_and_exports(self, finished: Callable[..., Path], tmp_path: Path) -> None:
        colours = ("red", "blue", "green", "white")
        rows = [f"{number % 7},{colours[number % 4]},{('a', 'b')[number % 4 // 2]}" for number in range(200)]
        path = write(tmp_path, "\n".join(["x,colour,target", *rows]))
        folder = finished(
            "model=mlp", "model.hidden=[16]", "data=table", f"data.path={path}", "data.categories=embedded",
            "trainer.max_epochs=30", "early_stopping.patience=30", "trainer.accelerator=cpu", "optimizer.lr=0.03",
        )  # fmt: skip
        assert evaluate(folder, "test", accelerator="cpu")["test/acc"] == 1
        path.unlink()
        model = leyden.load(folder)
        found = model.predict([{"x": 3, "colour": colour} for colour in colours])
        assert [one.prediction for one in found] == ["a", "a", "b", "b"]
        unknown, missing = model.predict([{"x": 3, "colour": "pink"}, {"x": 3, "colour": ""}])
        assert unknown.as_dict() == missing.as_dict()
        export(folder, tmp_path / "table.pt2", "torch")
        program = read_torch(tmp_path / "table.pt2")
        expected = model.module.predict(model.transform([[3, "white"], [5, "pink"]]))["probabilities"]
        codes = torch.tensor([[3.0, model.data.codes()["colour"]["white"]], [5.0, 0]])  # type: ignore[attr-defined]
        assert torch.allclose(program(codes)["probabilities"], expected, atol=1e-6)
        assert "Codes of `colour`: `1 blue`, `2 green`, `3 red`, `4 white`; 0 for any other" in model_card(folder)

    def test_old_runs_have_no_codes(self) -> None:
        cfg = compose("data=table", "model=mlp", "data.schema={a: []}", "data.classes=[no,yes]")
        OmegaConf.set_struct(cfg, False)
        for section, names in (
            (cfg.data, ("categories", "category_sizes")),
            (cfg.model, ("category_sizes", "embedding")),
        ):
            for name in names:
                section.pop(name)
        found = upgraded(cfg)
        assert (found.data.categories, found.data.category_sizes) == ("onehot", [])
        assert (found.model.category_sizes, found.model.embedding) == ([], None)


class TestDiabetes:
    """scikit-learn's patients as a CSV file, with the test patients of ``data=diabetes`` in a file of their own."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[str]:
        bunch = load_diabetes(scaled=False)
        rows = [",".join(map(str, [*row, target])) for row, target in zip(bunch.data, bunch.target, strict=True)]
        names = ",".join([*bunch.feature_names, "target"])
        for name, chosen in (
            ("train.csv", [row for number, row in enumerate(rows) if number % 5 != 4]),
            ("test.csv", rows[4::5]),
        ):
            write(tmp_path, "\n".join([names, *chosen]), name)
        return ["data=table", f"data.path={tmp_path / 'train.csv'}", f"data.test_path={tmp_path / 'test.csv'}"]

    def test_has_the_same_samples(self, files: list[str]) -> None:
        own, other = build_data(compose("model=mlp", *files)), build_data(compose("model=mlp", "data=diabetes"))
        for train in (True, False):
            for values, expected in zip(own.read(train), other.read(train), strict=True):
                assert torch.equal(values, expected)

    def test_has_the_same_result_if_no_patients_are_held_out(
        self, files: list[str], finished: Callable[..., Path]
    ) -> None:
        options = ["model=mlp", "model.hidden=[16]", "data.batch_size=16", "data.train_on_all=true",
                   "trainer.max_epochs=3", "trainer.accelerator=cpu"]  # fmt: skip
        reports = [
            json.loads((finished(*data, *options) / "report.json").read_text()) for data in (files, ["data=diabetes"])
        ]
        own, expected = (
            {name: value for name, value in report["metrics"].items() if name.startswith("test/")} for report in reports
        )
        assert own == expected
        assert own["test/rmse"] < 100


class TestSplits:
    def test_rows_that_are_added_do_not_change_the_split_of_the_others(self, tmp_path: Path) -> None:
        before, after = (table(many(tmp_path, num)) for num in (300, 360))

        def rows(data: Table, split: str) -> set[float]:
            return {row[1] for row in getattr(data, split)[0].tolist() if row[1] < 300}

        for split in ("train", "val", "test"):
            assert rows(before, split) == rows(after, split)
        assert {len(rows(before, split)) > 10 for split in ("train", "val", "test")} == {True}

    def test_equal_rows_are_in_the_same_split(self, tmp_path: Path) -> None:
        rows = [f"{number % 40},{'ab'[number % 2]}" for number in range(400)]
        data = table(write(tmp_path, "\n".join(["x,target", *rows])))
        train, test = ({value for (value,) in split[0].tolist()} for split in (data.train, data.test) if split)
        assert not train & test

    def test_a_test_set_of_its_own(self, tmp_path: Path) -> None:
        test = write(tmp_path, "y,x,target\n5,1,b\n6,2,a\n", "test.csv")
        data = table(many(tmp_path, 100), f"data.test_path={test}")
        assert data.test is not None
        assert data.test[0].tolist() == [[1, 5], [2, 6]], "columns are found by their names"
        assert data.test[1].tolist() == [1, 0]
        assert data.count_test() == 2
        assert data.sizes()["train"] + data.sizes()["val"] == 100
        before = data.fingerprint()
        write(tmp_path, "y,x,target\n5,1,b\n6,3,a\n", "test.csv")
        assert data.fingerprint() != before, "a changed test set is noticed"


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (FLOWERS, ["data.target=size"], "data.target: got size, but the columns of .* are petal, colour, code, name"),
        (FLOWERS, ["data.target=9"], "data.target: got 9, but the columns of"),
        (FLOWERS, ["data.target=species", "data.ignore=[weight]"], "data.ignore: got weight, but the columns of"),
        ("a,b\n1,2\n1,2,3\n", ["data.target=b"], "data.path: line 3 of .* has 3 values, but the first line has 2"),
        ("a,a\n1,2\n", ["data.target=a"], "data.path: .* has two columns a. If it has no line of names"),
        ("a,\n1,2\n", ["data.target=a"], "data.path: column 2 of .* has no name"),
        ("a\n1\n", ["data.target=a"], "data.path: .* has 1 columns; it needs the target and at least one other"),
        ("a,b\n", ["data.target=a"], "data.path: .* has no rows"),
        ("", ["data.target=a"], "data.path: .* has 0 columns"),
        ("a,b\n1,\0\n", ["data.target=a"], "data.path: .* contains NUL characters"),
        ('a,b\n1,"' + "x" * 200_000, ["data.target=a"], "data.path: line 2 of .* is not CSV .field larger than"),
        ("a,b\n1,x\n2,x\n", ["data.target=b"], "data.target: column b of .* has 1 classes, at least 2 are needed"),
        ("a,b\n1,x\n2,y\n3,\n", ["data.target=b"], "data.target: line 4 of .* has no value in column b"),
        ("a,b\n1,x\n2,y\n", ["data.target=b", "task=regression"], "data.target: 'x' in line 2 of .* is not a number"),
        ("t,b\nx,1\ny,2\nz,1\n", ["data.target=b", "data.max_categories=2"], "data.path: .* no column that can be a"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}") as caught:
        table(write(tmp_path, text), *overrides)
    assert "\n" not in str(caught.value)


def test_a_mistake_in_the_test_set_is_found_before_the_training(tmp_path: Path) -> None:
    path = many(tmp_path, 100)
    for text, message in (
        ("x,y,target\n1,2,c\n", "data.target: 'c' in line 2 of .* is not one of the classes, which are a, b"),
        ("x,y,target\n1,two,a\n", "data.test_path: column y in line 2 of .* is 'two', must be a number"),
        ("x,target\n1,a\n", "data.test_path: got y, but the columns of .* are x, target"),
    ):
        test = write(tmp_path, text, "test.csv")
        data = build_data(compose("data=table", f"data.path={path}", f"data.test_path={test}"))
        with pytest.raises(UserError, match=f"^{message}"):
            data.prepare_data()


@pytest.mark.parametrize("target", ["species", "petal"])
def test_a_trained_model_predicts_rows_without_the_table(
    finished: Callable[..., Path], tmp_path: Path, target: str
) -> None:
    rows = [
        f"{number / 10},{('red', 'blue')[number % 2]},{('setosa', 'virginica')[number % 2]}" for number in range(200)
    ]
    path = write(tmp_path, "\n".join(["petal,colour,species", *rows]))
    folder = finished(
        "model=mlp", "model.hidden=[16]", "data=table", f"data.path={path}", f"data.target={target}",
        "trainer.max_epochs=20", "trainer.accelerator=cpu", "optimizer.lr=0.02",
    )  # fmt: skip
    path.unlink()
    model = leyden.load(folder)
    if target == "species":
        found = model.predict([{"petal": 3, "colour": "red"}, {"petal": 3, "colour": "blue"}])
        assert [one.prediction for one in found] == ["setosa", "virginica"]
    else:
        (found_one,) = model.predict([{"colour": "red", "species": "setosa"}])
        assert isinstance(found_one.prediction, float)
        assert 0 < found_one.prediction < 20
