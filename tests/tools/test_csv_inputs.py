"""CSV files as inputs: they are read as in a training on a table."""

from pathlib import Path

import pytest

from leyden.config.builders import build_data
from leyden.config.compose import compose
from leyden.tools.csv_inputs import rows
from leyden.tools.input_files import find_inputs
from leyden.tools.predict import predict
from tests.tools.conftest import Models


@pytest.mark.parametrize(
    ("separator", "encoding"), [(";", "latin-1"), ("\t", "utf-16"), ("|", "utf-8"), (", ", "utf-8-sig")]
)
def test_rows_in_the_form_that_a_training_accepts(
    separator: str, encoding: str, model_of: Models, tmp_path: Path
) -> None:
    table = model_of("regression")
    lines = [[*table.data.feature_names(), "größe"], ["1"] * 11, [" 2 "] * 9 + ["NA", "x"]]  # type: ignore[attr-defined]
    path = tmp_path / "patients.csv"
    path.write_text("\n\n" + "\n\n".join(map(separator.join, lines)) + "\n\n", encoding)
    found = list(predict(table, find_inputs(table, [str(path)])))
    assert [(result.name, result.error) for result in found] == [(f"{path}:5", ""), (f"{path}:7", "")]
    expected = table.predict([[1.0] * 10, [2.0] * 9 + [None]])
    assert [result.prediction.prediction for result in found if result.prediction] == [
        one.prediction for one in expected
    ]


def test_a_table_without_a_line_of_names(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,1,red\nb,2,blue\n" * 20)
    data = build_data(compose("data=table", f"data.path={path}", "data.header=false", "data.target=0"))
    with_target = [row.value for row in rows(path, data)][:2]
    assert with_target == [{"0": "a", "1": "1", "2": "red"}, {"0": "b", "1": "2", "2": "blue"}]
    path.write_text("1,red\n")
    (row,) = rows(path, data)
    assert row.value == {"1": "1", "2": "red"}
    assert data.encode(row.value).tolist() == [1, 0, 1]
    path.write_text("1,red,x,y\n1,red\n")
    assert [row.error.removeprefix(str(path)) for row in rows(path, data)] == [
        "", ":2: has 2 values, but the first line has 4"
    ]  # fmt: skip
