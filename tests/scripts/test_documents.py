"""The tables that scripts write into documents."""

from pathlib import Path

import pytest

from scripts.documents import replace_part, spread, table


def test_a_part_is_replaced_and_all_other_text_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    parts = [f"<!-- written by scripts/{name} -->\nold {name}\n<!-- end of {name} -->\n" for name in ("one", "two")]
    path.write_text("before\n" + "between\n".join(parts) + "after\n", encoding="utf-8")
    replace_part(path, "two", table(("a", "b"), [("1", spread([1, 2], 1))]))
    new = "<!-- written by scripts/two -->\n| a | b |\n|---|---|\n| 1 | 1.5 ± 0.7 |\n<!-- end of two -->\n"
    assert path.read_text(encoding="utf-8") == f"before\n{parts[0]}between\n{new}after\n"
    with pytest.raises(ValueError, match="unpack"):
        replace_part(path, "three", "text")
