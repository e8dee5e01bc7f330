"""Windows of a series worked out by hand, files that are wrong, and forecasts against the naive one."""

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from leyden.config.builders import section
from leyden.config.compose import compose
from leyden.config.instantiate import instantiate
from leyden.data.scaling import Scaling
from leyden.data.series_file import read_column
from leyden.errors import UserError


def series(*overrides: str) -> Any:
    data = instantiate(section(compose("data=series", *overrides), "data"), "data")
    data.prepare_data()
    return data


def write_csv(path: Path, values: list[Any]) -> str:
    path.write_text("time,load\n" + "".join(f"t{number},{value}\n" for number, value in enumerate(values)))
    return f"data.path={path}"


@pytest.fixture
def counting(tmp_path: Path) -> list[str]:
    """The series 0, 1, 2, … 99: a value is its time. 80 steps come before the test."""
    file = write_csv(tmp_path / "load.csv", list(range(100)))
    return [file, "data.column=load", "data.window=5", "data.horizon=3", "data.val_fraction=0.2"]


def test_windows_and_what_follows_them(counting: list[str]) -> None:
    data = series(*counting)
    data.setup("fit")
    data.setup("test")
    # 73 windows of 8 steps; the last 15 validate, two more reach into what those predict
    assert data.sizes() == {"train": 56, "val": 15, "test": 18}
    assert data.train[0].shape == (56, 5, 1)
    assert data.train[0][0].flatten().tolist() == [0, 1, 2, 3, 4]
    assert data.train[1][0].tolist() == [5, 6, 7]
    assert data.val[1][-1].tolist() == [77, 78, 79]
    assert data.test[0][0].flatten().tolist() == [75, 76, 77, 78, 79]
    assert data.test[1][-1].tolist() == [97, 98, 99]


def test_nothing_that_is_predicted_later_was_seen_before(counting: list[str]) -> None:
    data = series(*counting)
    data.setup("fit")
    data.setup("test")
    assert max(data.train[0].max(), data.train[1].max()) < data.val[1].min()
    assert max(data.val[0].max(), data.val[1].max()) < data.test[1].min()


def test_statistics_are_of_the_training_part(counting: list[str]) -> None:
    data = series(*counting)
    data.setup("fit")
    scaling = Scaling(data.shape, data.horizon)
    data.fit_scaling(scaling)
    mean, std = 31.0, math.sqrt((63**2 - 1) / 12)  # of 0 … 62, the steps in training windows
    assert (scaling.mean.item(), scaling.std.item()) == (mean, pytest.approx(std))
    assert scaling.target_mean.tolist() == [mean] * 3
    assert scaling.target_std.tolist() == pytest.approx([std] * 3)


def test_limit_keeps_the_last_windows(counting: list[str]) -> None:
    data = series(*counting, "data.limit=0.5")
    data.setup("fit")
    assert data.sizes() == {"train": 28, "val": 15}
    assert data.train[1][-1].tolist() == [60, 61, 62]


def test_what_is_generated_is_seasons_trend_and_noise() -> None:
    data = series("data.num_steps=2400", "data.periods=[24]", "data.trend=0.5", "data.noise=0")
    values = data._generated().double()
    assert torch.allclose(values[24:] - values[:-24], torch.tensor(12.0).double(), atol=1e-3)
    season = values - 0.5 * torch.arange(2400)
    assert season.std().item() == pytest.approx(math.sqrt(0.5), rel=1e-2)
    noisy = series("data.num_steps=9000", "data.periods=[]", "data.trend=0", "data.noise=2")._generated()
    assert noisy.std().item() == pytest.approx(2, rel=0.05)
    assert torch.equal(series()._generated(), series()._generated())
    assert not torch.equal(series()._generated(), series("seed=1")._generated())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.shape=[-1]", r"data.shape: got \[-1\], must be \[data.window, 1\], here \[48, 1\]"),
        ("data.val_fraction=0.9999", "data.val_fraction: 0.9999 of 3941 windows leaves none for training"),
        ("data.num_steps=100000000000000", "data.num_steps: got 100000000000000, needs .* GB of memory"),
        ("data.num_steps=-1", "data.num_steps: got -1, must be at least 1"),
    ],
)
def test_a_wrong_value_names_its_key(override: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        series(override).setup("fit")


class TestWrongFiles:
    def fails(self, message: str, *overrides: str) -> None:
        with pytest.raises(UserError, match=f"^{message}"):
            series(*overrides).setup("fit")

    def test_that_are_not_there(self, tmp_path: Path) -> None:
        self.fails(f"data.path: there is no file {tmp_path}/no.csv", f"data.path={tmp_path}/no.csv")

    def test_without_the_column(self, tmp_path: Path) -> None:
        file = write_csv(tmp_path / "a.csv", [1, 2])
        self.fails("data.column: .*a.csv has no column lod; its columns are time, load", file, "data.column=lod")
        self.fails(r"data.column: .*a.csv has several columns \(time, load\), but data.column is null", file)
        (tmp_path / "a.csv").write_text("")
        self.fails("data.path: .*a.csv is empty", file, "data.column=load")

    @pytest.mark.parametrize("more", [[], ["data.time=time"]])
    def test_without_a_row(self, tmp_path: Path, more: list[str]) -> None:
        file = write_csv(tmp_path / "a.csv", [])
        self.fails("data.path: .*a.csv has no rows", file, "data.column=load", *more)

    @pytest.mark.parametrize("bad", ["high", "", "nan"])
    def test_with_something_that_is_no_number(self, tmp_path: Path, bad: str) -> None:
        file = write_csv(tmp_path / "a.csv", [1, bad, 2])
        self.fails(f"data.column: '{bad}' in line 3 of .*a.csv is not a number", file, "data.column=load")

    def test_that_are_too_short(self, tmp_path: Path) -> None:
        file = write_csv(tmp_path / "a.csv", [1, 2, 3] * 20)
        self.fails("data.window: 48 known steps and 12 to predict are too many for .* 60", file, "data.column=load")

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "latin-1"])
    def test_encodings(self, tmp_path: Path, encoding: str) -> None:
        text = "verkäufe,zeit\r\n" + "".join(f"{number},t\r\n" for number in range(200)) + "\r\n"  # a blank last line
        content = b"\xff\xfe" + text.encode("utf-16-le") if encoding.endswith("bom") else text.encode(encoding)
        (tmp_path / "a.csv").write_bytes(content)
        assert read_column(tmp_path / "a.csv", "verkäufe").tolist() == list(range(200))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"load\n1\n\n2\n", "data.path: line 3 of .*a.csv is blank"),
            (b"load\n1\n" + b"9" * 200_000 + b"\n", "data.path: line 3 of .*a.csv is not CSV .field larger"),
            (b"load\n1\n1e300\n", "data.column: '1e300' in line 3 of .*a.csv is not a number"),
            (b"load\n1\n\x002\n", r"data.column: '\\x002' in line 3 of .*a.csv is not a number"),
            ("load\n1\n".encode("utf-16-le"), "data.path: .*a.csv contains NUL characters"),
            (b"\xff\xfe\x00", "data.path: .*a.csv is not a text file in UTF-16"),
            (b"a\x1b[2J,b\n1,2\n", r"data.column: .*a.csv has no column load; its columns are a\\x1b\[2J, b$"),
        ],
    )
    def test_that_are_damaged(self, tmp_path: Path, content: bytes, message: str) -> None:
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(UserError, match=f"^{message}"):
            read_column(tmp_path / "a.csv", None if content.startswith(b"load") else "load")

    def test_that_are_no_files(self, tmp_path: Path) -> None:
        self.fails(f"data.path: {tmp_path} is not a regular file", f"data.path={tmp_path}")
        self.fails("data.path: /dev/zero is not a regular file", "data.path=/dev/zero")
        os.mkfifo(tmp_path / "pipe.csv")
        self.fails(f"data.path: {tmp_path}/pipe.csv is not a regular file", f"data.path={tmp_path}/pipe.csv")
        with (tmp_path / "huge.csv").open("wb") as file:
            file.truncate(10**12)
        self.fails("data.path: .*huge.csv has 1,000,000,000,000 bytes", f"data.path={tmp_path}/huge.csv")

    def test_a_file_of_one_column_needs_no_name(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("load\n" + "1.5\n" * 200)
        data = series(f"data.path={tmp_path}/a.csv")
        data.setup("fit")
        assert data.train[0].unique().tolist() == [1.5]
