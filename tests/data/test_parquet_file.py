"""A Parquet file is the same table as the CSV file with the same values."""

import datetime
import decimal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from leyden.config.builders import build_data
from leyden.config.compose import compose
from leyden.data.table import Table
from leyden.data.table_file import read_raw
from leyden.errors import UserError

pyarrow = pytest.importorskip("pyarrow", reason="reading Parquet needs the extra parquet")
parquet = pytest.importorskip("pyarrow.parquet", reason="reading Parquet needs the extra parquet")

NUM = 60
COLUMNS: dict[str, list[Any]] = {
    "size": [None if number % 7 == 6 else number / 10 for number in range(NUM)],
    "small": [number / 10 for number in range(NUM)],
    "count": list(range(NUM)),
    "colour": [None if number % 9 == 8 else ("red", " blue ", "NA")[number % 3] for number in range(NUM)],
    "new": [number % 2 == 0 for number in range(NUM)],
    "day": [datetime.date(2024, 1, 1 + number % 4) for number in range(NUM)],
    "species": [("setosa", "virginica")[number % 2] for number in range(NUM)],
}


def as_csv(path: Path) -> Path:
    """Write the columns as pandas does it."""
    rows = zip(*COLUMNS.values(), strict=True)
    lines = [",".join("" if value is None else str(value) for value in row) for row in rows]
    path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
    return path


def as_parquet(path: Path) -> Path:
    types = {"small": pyarrow.float32(), "count": pyarrow.int16(), "colour": pyarrow.dictionary("int8", "string")}
    arrays = {name: pyarrow.array(values, types.get(name)) for name, values in COLUMNS.items()}
    parquet.write_table(pyarrow.table(arrays), path)
    return path


def write(path: Path, **columns: Any) -> Path:
    parquet.write_table(pyarrow.table(columns), path)
    return path


def build(path: Path, *overrides: str) -> Table:
    data = build_data(compose("model=mlp", "data=table", f"data.path={path}", "data.target=species", *overrides))
    assert isinstance(data, Table)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return data


@pytest.mark.parametrize("categories", ["onehot", "embedded"])
def test_the_same_table_as_csv_and_as_parquet_is_the_same_data(tmp_path: Path, categories: str) -> None:
    paths = (as_csv(tmp_path / "a.csv"), as_parquet(tmp_path / "a.parquet"))
    csv, own = (build(path, f"data.categories={categories}") for path in paths)
    assert csv.schema == own.schema == {
        "size": [], "small": [], "count": [], "colour": ["blue", "red"], "new": ["False", "True"],
        "day": ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"],
    }  # fmt: skip
    assert csv.classes == own.classes
    assert csv.fingerprint() == own.fingerprint()
    assert csv.statistics == own.statistics
    for name in ("train", "val", "test"):
        for one, other in zip(getattr(csv, name), getattr(own, name), strict=True):
            assert torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))


def test_values_are_the_texts_that_pandas_writes(tmp_path: Path) -> None:
    at = datetime.datetime(2024, 1, 31, 18, 30)
    path = write(
        tmp_path / "a.parquet",
        half=pyarrow.array([0.1, None], pyarrow.float32()),
        whole=[1.0, float("nan")],
        large=pyarrow.array([2**62 + 1, None]),
        money=[decimal.Decimal("1.10"), None],
        when=pyarrow.array([at, at.replace(hour=0, minute=0)], pyarrow.timestamp("ns")),
        midnight=pyarrow.array([at.replace(hour=0, minute=0), None], pyarrow.timestamp("us")),
        zone=pyarrow.array([at, None], pyarrow.timestamp("ms", "UTC")),
        nothing=pyarrow.nulls(2),
        text=pyarrow.array(["a\nb", "x"], pyarrow.large_string()),
    )
    assert read_raw(str(path), True).rows == (
        ("0.1", "1.0", str(2**62 + 1), "1.10", "2024-01-31 18:30:00", "2024-01-31", "2024-01-31 18:30:00+00:00", "",
         "a\nb"),
        ("", "", "", "", "2024-01-31 00:00:00", "", "", "", "x"),
    )  # fmt: skip


def test_rows_without_any_value_are_left_out_as_blank_lines_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", x=[1, None, 3], y=["a", None, "b"])
    found = read_raw(str(path), True)
    assert (found.rows, found.place(1)) == ((("1", "a"), ("3", "b")), f"row 3 of {path}")


def fails(message: str, path: Path, *overrides: str) -> None:
    with pytest.raises(UserError, match=f"^{message}") as caught:
        build(path, *overrides)
    assert "\n" not in str(caught.value)


class TestMistakes:
    def test_a_damaged_file(self, tmp_path: Path) -> None:
        path = as_parquet(tmp_path / "a.parquet")
        content = path.read_bytes()
        for damaged in (b"", b"PAR1", content[:-20], content[: len(content) // 2], b"a,b\n1,2\n"):
            path.write_bytes(damaged)
            fails("data.path: .*a.parquet cannot be read as Parquet ", path)

    def test_flipped_bytes_give_a_table_or_one_line(self, tmp_path: Path) -> None:
        path = as_parquet(tmp_path / "a.parquet")
        content = path.read_bytes()
        for place in range(0, len(content), len(content) // 40):
            path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
            with suppress(UserError):
                read_raw(str(path), True)

    def test_lists_and_structures(self, tmp_path: Path) -> None:
        for values, kind in (([[1], [2]], "list<"), ([{"a": 1}, {"a": 2}], "struct<"), ([b"a", b"b"], "binary")):
            path = write(tmp_path / "a.parquet", x=values, species=["a", "b"])
            fails(f"data.path: column x of .*a.parquet has the type {kind}.*, must have numbers, texts", path)

    def test_a_file_has_names(self, tmp_path: Path) -> None:
        fails(
            "data.header: got false, but .* is a Parquet file", as_parquet(tmp_path / "a.parquet"), "data.header=false"
        )

    def test_too_many_values(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("leyden.data.parquet_file.MAX_VALUES", 100)
        fails("data.path: .* has 420 values, the limit is 100", as_parquet(tmp_path / "a.parquet"))

    def test_a_wrong_value_is_named_by_its_row(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.parquet", x=["1", "2", "x"], species=["a", "b", None])
        fails("data.target: row 3 of .*a.parquet has no value in column species. Remove the row", path)

    def test_without_pyarrow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = as_parquet(tmp_path / "a.parquet")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        fails(r'data.path: .*a.parquet is a Parquet file, which needs pyarrow: pip install -e "\.\[parquet\]"', path)
