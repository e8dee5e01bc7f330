"""Stored figures of the benchmark: what is kept, and what counts as slower."""

from pathlib import Path

import pytest
from rich.table import Table

from leyden.errors import UserError
from scripts.baseline import baseline_file, comparison, read, save, slower


def test_only_a_change_above_the_tolerance_is_slower() -> None:
    before = {"steps": 2.0, "feeding": 1.0, "start": 4.0}
    assert slower({"steps": 1.5, "feeding": 0.95, "start": 5.0, "new": 1.0}, before) == {"steps": -0.25}


def test_figures_that_were_not_measured_again_are_kept(tmp_path: Path) -> None:
    path = baseline_file(tmp_path / "new")
    save({"a": 1.0, "b": 2.0}, path)
    save({"b": 3.0}, path)
    stored = read(path)
    assert stored["ratios"] == {"a": 1.0, "b": 3.0}
    table = comparison({"a": 0.5, "b": 3.0}, stored)
    assert isinstance(table, Table)
    assert table.row_count == 1
    assert str(comparison({"a": 0.95, "b": 3.0}, stored)).startswith("nothing is slower")


@pytest.mark.parametrize("content", ["{", "[]", '{"ratios": {"a": 1.0}}', '{"date": "", "ratios": {"a": NaN}}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(UserError, match="Measure this machine first"):
        read(path)
    path.write_text(content)
    with pytest.raises(UserError, match="is not a file of scripts/benchmark"):
        read(path)
