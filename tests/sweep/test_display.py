"""How trials are displayed."""

import pytest

from leyden.sweep.display import brief


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["optimizer.lr=0.0038246543", "seed=123456"], "optimizer.lr=0.003825 seed=123456"),
        (["optimizer.lr=3.8246543e-05", "model.hidden=[64]"], "optimizer.lr=3.825e-05 model.hidden=[64]"),
        ([], "the default"),
    ],
)
def test_brief_shortens_numbers(overrides: list[str], text: str) -> None:
    assert brief(overrides) == text
