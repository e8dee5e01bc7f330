"""A user's own table: what its columns become, its splits, and one line for each mistake."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import leyden
from leyden.config.builders import build_data
from leyden.config.compose import compose
from leyden.data.table import Table
from leyden.errors import UserError

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
