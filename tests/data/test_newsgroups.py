"""20 Newsgroups: scikit-learn gives the messages once, then they are read from files."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from leyden.data.newsgroups import Newsgroups
from leyden.errors import UserError
from tests.data.building import build_data


def build(root: Path, *overrides: str) -> Newsgroups:
    found = build_data("newsgroups", f"data.root={root}", "data.cache=null", *overrides)
    assert isinstance(found, Newsgroups)
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What scikit-learn was asked for. It has three messages of each group, in another order of the names."""
    calls: list[dict[str, Any]] = []
    names = sorted(Newsgroups.names, reverse=True)

    def fetch(**arguments: Any) -> Any:
        calls.append(arguments)
        if not arguments["download_if_missing"]:
            raise OSError("20Newsgroups dataset not found")
        labels = np.arange(60) % 20
        texts = [f"{names[label]} number{row}\nline" for row, label in enumerate(labels)]
        return SimpleNamespace(data=texts, target=labels, target_names=names)

    monkeypatch.setattr("sklearn.datasets.fetch_20newsgroups", fetch)
    return calls


def test_the_messages_are_fetched_once(tmp_path: Path, asked: list[dict[str, Any]]) -> None:
    for _ in range(2):
        data = build(tmp_path)
        data.prepare_data()
    assert asked == [{"subset": split, "remove": (), "download_if_missing": True} for split in ("train", "test")]
    data.setup("test")
    assert data.sizes() == {"train": 40, "val": 20, "test": 60}
    texts, targets = data.read_texts(train=True)
    assert all(text.startswith(Newsgroups.names[label]) for text, label in zip(texts, targets.tolist(), strict=True))


def test_parts_that_are_left_out_have_files_of_their_own(tmp_path: Path, asked: list[dict[str, Any]]) -> None:
    build(tmp_path, "data.remove=[quotes,headers]").prepare_data()
    assert [call["remove"] for call in asked] == [("quotes", "headers")] * 2
    names = sorted(path.name for path in (tmp_path / "20newsgroups").glob("*.jsonl"))
    assert names == ["test-no-headers-no-quotes.jsonl", "train-no-headers-no-quotes.jsonl"]


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, asked: list[dict[str, Any]]) -> None:
    with pytest.raises(UserError, match=r"^data.root: cannot get .*train.jsonl \(20Newsgroups dataset not found\)"):
        build(tmp_path, "data.download=false").prepare_data()
    with pytest.raises(UserError, match=r"^data.remove: got \['quotes', 'quotes'\], which names a part twice"):
        build(tmp_path, "data.remove=[quotes,quotes]")
    data = build(tmp_path)
    data.prepare_data()
    data.files()[0].write_text('{"text": "a", "label": "x"}')
    with pytest.raises(UserError, match=r"^data.root: line 1 of .*train.jsonl is damaged; delete the file"):
        data.setup("fit")
