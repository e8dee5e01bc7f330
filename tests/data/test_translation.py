"""Sentence pairs: dates, files, splits and targets."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch

from leyden.data.dates import dates, written
from leyden.data.text_loaders import TextTrainLoader
from leyden.data.texts import to_int64
from leyden.errors import UserError
from tests.data.building import build_data


def pairs(*overrides: str) -> Any:
    return build_data("translation", "data.cache=null", "data.max_tokens=64", "data.vocab_size=300", *overrides)


def loaded(*overrides: str) -> Any:
    found = pairs(*overrides)
    found.prepare_data()
    found.setup("fit")
    found.setup("test")
    return found


def test_dates() -> None:
    day = date(2021, 3, 5)
    assert written(day, "de", "{day}, den {d}. {month} {y}") == "Freitag, den 5. März 2021"
    assert written(day, "en", "the {th} of {month}, {yy}") == "the 5th of March, 21"
    texts, isos = dates(500, 0)
    assert dates(500, 0) == (texts, isos)
    assert dates(500, 1) != (texts, isos)
    assert {date.fromisoformat(one).year // 100 for one in isos} == {19, 20}


def test_targets_are_the_tokens_then_the_end_then_nothing() -> None:
    data = loaded("data.num_pairs=200")
    inputs, targets = data.train
    tokens = data.target_tokenizer()
    text = [one for one in targets[0].tolist() if one >= 0]
    assert text[-1] == 300
    assert date.fromisoformat(tokens.decode(text[:-1]))
    assert targets.shape == (len(inputs), 65)
    batch, cut = next(iter(data.train_dataloader()))
    assert batch.shape[1] <= 32
    assert cut.shape[1] == 11  # the ten characters of a date and the end


def test_batches_have_little_padding_and_processes_share_them() -> None:
    rng = torch.Generator().manual_seed(0)
    sources = (torch.randn(4_000, generator=rng) * 5 + 14).round().clamp(4, 40).long()
    targets = (sources + 1 + torch.randn(4_000, generator=rng) * 2).round().clamp(4, 41).long()

    def loader(size: int, rank: int = 0, world: int = 1) -> TextTrainLoader:
        numbers = torch.arange(4_000)[:, None]
        return TextTrainLoader(
            numbers.expand(-1, 40), numbers.expand(-1, 41), size, to_int64, seeds=[0], rank=rank, world=world,
            position=lambda: (3, 0), lengths=sources, target_lengths=targets,
        )  # fmt: skip

    whole = list(loader(32))
    used = {"source": 0, "target": 0}
    for inputs, symbols in whole:
        assert inputs[:, 0].equal(symbols[:, 0])  # the same pairs
        used["source"] += inputs.numel()
        used["target"] += symbols.numel()
    assert int(sources.sum()) / used["source"] > 0.9
    assert int(targets.sum()) / used["target"] > 0.9
    parts = [list(loader(16, rank, 2)) for rank in range(2)]
    for (inputs, symbols), *others in zip(whole, *parts, strict=True):
        assert sorted(inputs[:, 0].tolist()) == sorted([*others[0][0][:, 0].tolist(), *others[1][0][:, 0].tolist()])
        assert {one.shape[1] for one, _ in others} == {inputs.shape[1]}
        assert {other.shape[1] for _, other in others} == {symbols.shape[1]}


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    one = write(tmp_path / "a.de", [f"der Satz {number}" for number in range(60)])
    other = write(tmp_path / "a.en", [f"the sentence {number}" for number in range(59)] + [""])
    return [f"data.path={one}", f"data.target_path={other}"]


def test_parallel_files_and_a_file_with_two_columns_give_the_same(files: list[str], tmp_path: Path) -> None:
    data = loaded(*files)
    assert sum(data.sizes().values()) == 59
    assert "1 pairs with an empty side are left out" in data.describe()
    table = write(
        tmp_path / "a.tsv", ["en\tde", *(f"the sentence {number}\tder Satz {number}" for number in range(59))]
    )
    other = loaded(f"data.path={table}", "data.source=de", "data.target=1", "data.target=en")
    for split in ("train", "val", "test"):
        assert all(a.equal(b) for a, b in zip(getattr(data, split), getattr(other, split), strict=True))


def test_files_of_their_own_for_validation_and_test(files: list[str]) -> None:
    path, other = (text.partition("=")[2] for text in files)
    data = loaded(*files, f"data.val_path={path}", f"data.val_target_path={other}",
                  f"data.test_path={path}", f"data.test_target_path={other}")  # fmt: skip
    assert data.sizes() == {"train": 59, "val": 59, "test": 59}


def test_added_pairs_do_not_change_the_split_of_the_others(files: list[str], tmp_path: Path) -> None:
    before = in_test(*files)
    path, other = (Path(text.partition("=")[2]) for text in files)
    for file in (path, other):
        file.write_text(f"first\n{file.read_text()}last\n")
    assert before == in_test(*files) - {"first", "last"}


def in_test(*overrides: str) -> set[str]:
    """The targets of the test set."""
    data = loaded(*overrides)
    return {data.target_tokenizer().decode([one for one in row if 0 <= one < 300]) for row in data.test[1].tolist()}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"x\ty\na\tb\n", "data.source: got source, but the columns of .*a.tsv are x, y"),
        ("a.tsv", b"source\ttarget\na\n", "data.path: line 2 of .*a.tsv has only 1 values"),
        ("a.tsv", b"source\ttarget\na\t\xff\n", "data.path: line 2 of .*a.tsv is not UTF-8"),
        ("a.tsv", b"source\ttarget\na\t\0\n", "data.path: line 2 of .*a.tsv contains NUL"),
        ("a.tsv", b"source\ttarget\n", "data.path: .*a.tsv contains no sentence pairs"),
    ],
)
def test_a_wrong_file_gives_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"^{message}"):
        pairs(f"data.path={tmp_path / name}").prepare_data()


def test_files_of_different_lengths(files: list[str]) -> None:
    path = Path(files[1].partition("=")[2])
    path.write_text("one line\n")
    with pytest.raises(UserError, match=r"^data.target_path: .* has 1 lines, but .* has 60"):
        pairs(*files).prepare_data()
