"""Docstrings of installed packages as texts."""

from pathlib import Path

import pytest

from leyden.data.docstrings import Docstrings, docstrings, is_test, package_folder
from leyden.errors import UserError
from tests.data.building import build_data

SOURCE = '''
class One:
    """Computes something useful for every reader who wants to know how this works.

    Parameters
    ----------
    x : int
        Hidden.
    """

    def two(self):
        """Explains in more than ten words what the second function does, and why.

        >>> two()
        """

    def three(self):
        """Too short."""
'''


def test_a_text_is_what_comes_before_sections_and_examples(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    for name in ("a.py", "tests/b.py"):
        (tmp_path / name).write_text(SOURCE, encoding="utf-8")
    (tmp_path / "newer.py").write_text("def (:", encoding="utf-8")
    assert list(docstrings(tmp_path)) == [
        "Computes something useful for every reader who wants to know how this works.",
        "Explains in more than ten words what the second function does, and why.",
    ]


def test_the_test_set_is_fixed_and_disjoint() -> None:
    data = build_data("docstrings", "data.cache=null", "seed=3")
    assert isinstance(data, Docstrings)
    train, test = (data.read_texts(train=train)[0] for train in (True, False))
    assert not {*train} & {*test}
    assert all(map(is_test, test))
    assert not any(map(is_test, train))
    assert 0.1 < len(test) / len(train) < 0.4
    data.setup("fit")
    assert "; from scipy " in data.describe()


@pytest.mark.parametrize(
    ("topics", "message"),
    [
        ("[scipy.stats]", "data.topics: got 1, must be at least 2"),
        ("[scipy.stats,scipy.stats]", "data.topics: contains a topic twice"),
        ("[scipy.stats,scipy.missing]", "data.topics: there is no package scipy.missing"),
        ("[scipy.stats,missing_package]", "data.topics: there is no package missing_package"),
        ("[scipy.stats,'../secret']", "data.topics: got '../secret', must be packages such as scipy.linalg"),
    ],
)
def test_wrong_topics(topics: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        build_data("docstrings", f"data.topics={topics}")


def test_packages_are_found_without_an_import() -> None:
    folder = package_folder("networkx.algorithms")
    assert folder is not None
    assert (folder / "__init__.py").exists()
    assert package_folder("json.missing") is None
