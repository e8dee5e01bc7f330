"""Several series in one table: windows and splits worked out by hand, any order of rows, gaps, and wrong files."""

import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

import leyden
from leyden.data.scaling import Scaling
from leyden.errors import UserError
from leyden.tools.evaluate import evaluate
from leyden.tools.input_files import find_inputs
from leyden.tools.other_data import read_other
from leyden.tools.predict import predict
from tests.data.building import build_data

COLUMNS = ["data.column=sold", "data.time=day", "data.group=shop"]
SMALL = ["data.window=3", "data.horizon=2", "data.val_fraction=0.2"]
START = date(2024, 2, 20)


def day(number: int) -> str:
    return str(START + timedelta(days=number))


def write(path: Path, rows: Sequence[Sequence[Any]], names: str = "day,shop,sold") -> Path:
    path.write_text("\n".join([names, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def two_shops(path: Path, num: int = 20) -> Path:
    """Shop a sells 0, 1, 2, …; b opens two days later and sells 102, 103, …; the rows have a random order."""
    rows = [(day(number), shop, base + number) for shop, base, first in (("a", 0, 0), ("b", 100, 2))
            for number in range(first, num)]  # fmt: skip
    random.Random(0).shuffle(rows)
    return write(path, rows)


def series(path: Path, *overrides: str) -> Any:
    data = build_data("series", f"data.path={path}", *overrides)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return data


class TestSplits:
    def test_all_series_are_split_at_the_same_times(self, tmp_path: Path) -> None:
        data = series(two_shops(tmp_path / "a.csv"), *COLUMNS, *SMALL)
        # 20 days, of which 16 are before the test: 12 windows start there, the last two of them validate, from day 13
        assert data.train[1].tolist() == [
            *([number, number + 1] for number in range(3, 12)),
            *([number, number + 1] for number in range(105, 112)),
        ]
        assert data.train[0][0].tolist() == [[0], [1], [2]]
        assert data.val[1].tolist() == [[13, 14], [14, 15], [113, 114], [114, 115]]
        assert data.test[1].tolist() == [[16, 17], [17, 18], [18, 19], [116, 117], [117, 118], [118, 119]]
        assert data.count_test() == 6
        assert data.describe() == "16 train, 4 val, 6 test; 2 series"

    def test_one_series_with_times_is_split_as_one_without(self, tmp_path: Path) -> None:
        rows = [(day(number), number) for number in range(40)]
        plain = series(write(tmp_path / "a.csv", rows, "day,sold"), "data.column=sold", *SMALL)
        timed = series(write(tmp_path / "b.csv", rows[::-1], "day,sold"), *COLUMNS[:2], *SMALL)
        for name in ("train", "val", "test"):
            for one, other in zip(getattr(plain, name), getattr(timed, name), strict=True):
                assert torch.equal(one, other)

    def test_statistics_use_each_training_step_once(self, tmp_path: Path) -> None:
        data = series(two_shops(tmp_path / "a.csv"), *COLUMNS, *SMALL)
        scaling = Scaling(data.shape, data.horizon)
        data.fit_scaling(scaling)
        steps = torch.tensor([*range(13), *range(102, 113)], dtype=torch.float32)
        assert scaling.mean.item() == pytest.approx(steps.mean().item())
        assert scaling.target_std.tolist() == pytest.approx([steps.std(correction=0).item()] * 2)

    def test_limit_keeps_the_last_windows_of_all_series(self, tmp_path: Path) -> None:
        data = series(two_shops(tmp_path / "a.csv"), *COLUMNS, *SMALL, "data.limit=0.25")
        assert data.train[1].tolist() == [[10, 11], [11, 12], [110, 111], [111, 112]]

    def test_the_order_of_the_rows_does_not_matter_but_their_times_do(self, tmp_path: Path) -> None:
        rows = [(day(number), "a", number) for number in range(20)]
        found = [
            series(write(tmp_path / "a.csv", order), *COLUMNS, *SMALL).fingerprint() for order in (rows, rows[::-1])
        ]
        later = [(day(number + (number > 5)), "a", number) for number in range(20)]
        assert found[0] == found[1] != series(write(tmp_path / "a.csv", later), *COLUMNS, *SMALL).fingerprint()


class TestGaps:
    def rows(self, path: Path, missing: int = -1, left_out: int = -1) -> Path:
        rows = [(day(n), "a", "" if n == missing else n) for n in range(30) if n != left_out]
        return write(path, rows)

    def test_no_window_contains_a_gap_or_a_missing_value(self, tmp_path: Path) -> None:
        for options in ({"missing": 8}, {"left_out": 8}):
            data = series(self.rows(tmp_path / "a.csv", **options), *COLUMNS, *SMALL)
            windows = torch.cat((data.train[0][:, :, 0], data.train[1]), dim=1).tolist()
            assert windows[:5] == [[float(n + k) for k in range(5)] for n in (0, 1, 2, 3, 9)], options

    def test_joined_rows_are_successive_steps_but_a_missing_value_stays_one(self, tmp_path: Path) -> None:
        data = series(self.rows(tmp_path / "a.csv", left_out=8), *COLUMNS, *SMALL, "data.gaps=join")
        assert data.train[0][4].flatten().tolist() == [4, 5, 6]
        assert data.train[1][4].tolist() == [7, 9]
        data = series(self.rows(tmp_path / "a.csv", missing=8), *COLUMNS, *SMALL, "data.gaps=join")
        assert data.train[1][4].tolist() == [12, 13]

    @pytest.mark.parametrize(
        "times",
        [
            [f"{2000 + number // 12}-{number % 12 + 1:02}" for number in range(30)],
            [f"{2000 + number // 12}{number % 12 + 1:02}01" for number in range(30)],
            [str(1990 + number) for number in range(30)],
            [f"2024-01-{number // 24 + 1:02} {number % 24:02}:00+01:00" for number in range(30)],
            [str(1704067200000 + 60_000 * number) for number in range(30)],
        ],
        ids=["months", "first days", "years", "hours", "milliseconds"],
    )
    def test_usual_times_have_no_gaps(self, tmp_path: Path, times: list[str]) -> None:
        rows = [(time, number) for number, time in enumerate(times)]
        data = series(write(tmp_path / "a.csv", rows, "day,sold"), *COLUMNS[:2], *SMALL)
        assert sum(data.sizes().values()) == (24 - 4 - 1) + (6 - 2 + 1), "one window overlaps with the validation"

    def test_short_series_are_named_and_not_used(self, tmp_path: Path) -> None:
        rows = [(day(number), "a", number) for number in range(30)] + [(day(number), "new", 1) for number in range(4)]
        data = series(write(tmp_path / "a.csv", rows), *COLUMNS, *SMALL)
        assert data.describe().endswith("; 2 series; 1 without 5 successive steps (new)")


class TestMistakes:
    @pytest.mark.parametrize(
        ("rows", "overrides", "message"),
        [
            ([("2024-01-01", "a", 1)] * 2, COLUMNS, "data.time: 2024-01-01 occurs twice in the series a, in lines 2"),
            ([("2024-01-01", "a", 1)] * 2, COLUMNS[:2], "data.time: 2024-01-01 occurs twice, .* data.group=COLUMN"),
            ([("1/2/2024", "a", 1)], COLUMNS, "data.time: '1/2/2024' in line 2 of .* is neither a number as all"),
            ([(1, "a", 1), ("2024-01-01", "a", 1)], COLUMNS, "data.time: '1' in line 2 of .* is neither a number as"),
            ([("", "a", 1)], COLUMNS, "data.time: line 2 of .* has no value in column day"),
            ([(1, "", 1)], COLUMNS, "data.group: line 2 of .* has no value in column shop"),
            ([(1, "a", "x")], COLUMNS, "data.column: 'x' in line 2 of .* is not a number"),
            ([(1, "a", 1)], ["data.time=day"], "data.column: got null, must be the column of .* to predict"),
            ([(1, "a", 1)], [*COLUMNS[:2], "data.group=store"], "data.group: got store, but the columns of .* are"),
            ([(1, "a", 1)], ["data.column=sold", "data.group=shop"], "data.group: got shop, but time is null"),
            ([(1, "a", 1)], ["data.column=sold", "data.gaps=join"], "data.gaps: got join, but time is null"),
            ([(n * n, "a", 1) for n in range(90)], COLUMNS, "data.window: no series has 5 successive"),
            ([(n, "a", 1) for n in range(9)], [*COLUMNS, "data.window=9"], "data.window: 9 known steps and 2 to"),
        ],
    )  # fmt: skip
    def test_one_line(self, tmp_path: Path, rows: list[Any], overrides: list[str], message: str) -> None:
        with pytest.raises(UserError, match=f"^{message}") as caught:
            series(write(tmp_path / "a.csv", rows), *SMALL, *overrides)
        assert "\n" not in str(caught.value)

    def test_a_column_of_times_belongs_to_series(self) -> None:
        for key in ("time", "group", "series"):
            with pytest.raises(UserError, match=f"^data.{key}: belongs to data=series. To forecast a column"):
                build_data("table", f"data.{key}=day")

    def test_a_time_needs_a_file(self) -> None:
        with pytest.raises(UserError, match=r"^data.time: got day, but path is null"):
            build_data("series", "data.time=day")


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="reading Parquet needs the extra parquet")
    parquet = pytest.importorskip("pyarrow.parquet", reason="reading Parquet needs the extra parquet")
    path = two_shops(tmp_path / "a.csv")
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    days, shops, sold = zip(*rows, strict=True)
    columns = {"day": [date.fromisoformat(text) for text in days], "shop": shops, "sold": [float(n) for n in sold]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    csv, own = (series(tmp_path / name, *COLUMNS, *SMALL) for name in ("a.csv", "a.parquet"))
    assert csv.fingerprint() == own.fingerprint()
    parquet.write_table(pyarrow.table({"sold": list(range(40))}), tmp_path / "b.parquet")
    assert series(tmp_path / "b.parquet", *SMALL).train[0][1].flatten().tolist() == [1, 2, 3]


def test_a_run_on_several_series_is_used_on_new_rows(finished: Callable[..., Path], tmp_path: Path) -> None:
    path = two_shops(tmp_path / "a.csv", 60)
    folder = finished(
        "model=mlp", "model.hidden=[8]", "data=series", f"data.path={path}", *COLUMNS, *SMALL, "trainer=cpu",
        "trainer.max_epochs=2",
    )  # fmt: skip
    metrics = evaluate(folder, "test")
    assert {"test/mae", "test/mae_vs_naive"} <= set(metrics)
    path.unlink()
    model = leyden.load(folder)
    new = [(day(number), "c", 7 + number) for number in range(5)] + [(day(number), "d", 1) for number in (0, 1, 5)]
    new_path = write(tmp_path / "new.csv", new)
    known, broken = predict(model, find_inputs(model, [str(new_path)]))
    assert (known.name, known.error) == (f"{new_path}: c", "")
    assert known.prediction is not None
    assert known.prediction.prediction == model.predict([[9.0, 10, 11]])[0].prediction
    assert broken.error == f"{new_path}: d: its last rows are not 3 successive steps without a missing value"
    other = read_other(model.data, model.module, new_path, model.config)
    assert other.sources == (f"{new_path}: c, step 3",)
    assert other.batch[1].tolist() == [[10, 11]]
