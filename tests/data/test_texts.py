"""What all data sets of texts share: tokens, vocabulary, cut texts, and the cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from leyden.data.text_cache import MAX_FILES, PREFIX, TextCache
from leyden.data.texts import FILE, TextData
from leyden.errors import UserError

ARGUMENTS: dict[str, Any] = {
    "seed": 0, "batch_size": 4, "eval_batch_size": 4, "val_fraction": 0.25, "train_on_all": False, "num_folds": 0,
    "fold": 0, "limit": 1.0, "num_classes": 2, "tokenizer": "words", "vocab_size": 50, "max_tokens": 6,
    "long_texts": "cut", "cache": None,
}  # fmt: skip


@dataclass(kw_only=True, eq=False, repr=False)
class Numbered(TextData):
    """Twenty texts with 1 to 8 words; every second one is odd.

    Args:
        number: makes another set of texts.
    """

    names: ClassVar[tuple[str, ...]] = ("even", "odd")
    reads: ClassVar[list[bool]] = []

    number: int = 0

    def read_texts(self, train: bool) -> tuple[list[str], Tensor]:
        self.reads.append(train)
        texts = [" ".join([f"w{row}", *["and"] * (row % 8)]) for row in range(20)]
        return [text + " more" * self.number for text in texts], torch.arange(20) % 2


def build(**changes: Any) -> Numbered:
    values = {**ARGUMENTS, **changes}
    Numbered.reads.clear()
    return Numbered(**{"shape": [values["max_tokens"]], **values})


def words(data: TextData, split: str) -> list[str]:
    """The texts of a split, from their tokens."""
    found: Any = getattr(data, split)
    encoder = data.encoder
    assert encoder
    return [encoder.decode(row) for row in found[0].tolist()]


class TestTokens:
    def test_the_vocabulary_is_that_of_the_training_split(self) -> None:
        data = build()
        data.setup("fit")
        assert data.encoder
        known = {text.split()[0] for text in words(data, "train")}
        assert {symbol for symbol in data.encoder.symbols if symbol.startswith("w")} == known
        assert len(known) == 16
        assert data.val
        assert (data.val[0][:, 0] == 1).all(), "the first word of each text of the validation is unknown"

    def test_evaluation_is_sorted_by_length(self) -> None:
        data = build()
        data.setup("test")
        for split in ("val", "test"):
            lengths = data.lengths[split].tolist()
            assert lengths == sorted(lengths)
        assert data.lengths["train"].tolist() != sorted(data.lengths["train"].tolist())
        assert data.test
        assert len(data.test[1]) == 20

    def test_long_texts_are_cut_and_counted(self) -> None:
        data = build()
        data.setup("test")
        assert data.num_cut["train"] + data.num_cut["val"] == data.num_cut["test"] == 4
        assert "4 of train and val are cut to 6 tokens (data.max_tokens)" in data.describe()
        assert max(map(len, data.train[0].tolist() if data.train else [])) == 6

    def test_or_they_are_an_error(self) -> None:
        with pytest.raises(UserError, match=r"^data.max_tokens: got 6, but text \d+ of the train split has [78]"):
            build(long_texts="error").setup("fit")
        data = build(long_texts="error", max_tokens=8)
        data.setup("fit")
        assert "cut" not in data.describe()
        with pytest.raises(UserError, match=r"but the text has 9 tokens; data.long_texts=cut cuts it"):
            data.encode("a b c d e f g h i")

    def test_ids_are_small_integers_and_batches_int64(self) -> None:
        data = build()
        data.setup("fit")
        assert data.train
        assert data.train[0].dtype == torch.int16
        inputs, _ = next(iter(data.train_dataloader()))
        assert inputs.dtype == torch.int64

    def test_a_text_a_file_or_a_row_is_encoded(self, tmp_path: Path) -> None:
        data = build()
        data.setup("fit")
        (tmp_path / "a.txt").write_text("AND and", encoding="utf-8")
        found = [data.encode(item).tolist() for item in ("AND and", tmp_path / "a.txt", {"text": "AND and"})]
        assert found[0] == found[1] == found[2] == [2, 2, 0, 0, 0, 0]
        for item, message in ((3, "text: got int, must be a text"), (" ", "text: is empty")):
            with pytest.raises(UserError, match=f"^{message}"):
                data.encode(item)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"max_tokens": 0}, "max_tokens: got 0, must be at least 1"),
            ({"shape": [7]}, "shape: got [7], must be [6], which is data.max_tokens"),
        ],
    )
    def test_wrong_values(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match="^" + message.replace("[", r"\[").replace("]", r"\]")):
            build(**changes)

    @pytest.mark.parametrize(("kind", "size"), [("bytes", 200), ("words", 3)])
    def test_a_vocabulary_that_is_too_small(self, kind: str, size: int) -> None:
        with pytest.raises(UserError, match=f"^data.vocab_size: got {size}, must be from"):
            build(tokenizer=kind, vocab_size=size)

    def test_a_run_brings_its_vocabulary(self) -> None:
        first, second = build(), build(seed=1)
        first.setup("fit")
        second.use_files_of_run(first.files_of_run().__getitem__)
        second.setup("fit")
        assert second.files_of_run() == first.files_of_run()
        for changes, key in (({"vocab_size": 10}, "vocab_size"), ({"tokenizer": "characters"}, "tokenizer")):
            with pytest.raises(UserError, match=f"^data.{key}: got .*, but {FILE} of the run contains"):
                build(**changes).use_files_of_run(first.files_of_run().__getitem__)


class TestCache:
    def ready(self, folder: Path, **changes: Any) -> Numbered:
        data = build(cache=str(folder), **changes)
        data.setup("test")
        return data

    def files(self, folder: Path) -> Sequence[Path]:
        return sorted((folder / "texts").glob("*.npz"))

    def test_the_second_run_reads_no_texts_and_gets_the_same(self, tmp_path: Path) -> None:
        first = self.ready(tmp_path)
        assert Numbered.reads == [True, False]
        second = self.ready(tmp_path, batch_size=2)
        assert Numbered.reads == []
        for split in ("train", "val", "test"):
            one, other = getattr(first, split), getattr(second, split)
            assert torch.equal(one[0], other[0])
            assert torch.equal(one[1], other[1])
        assert first.describe() == second.describe()
        assert first.fingerprint() == second.fingerprint() != self.ready(tmp_path, number=1).fingerprint()

    @pytest.mark.parametrize("changes", [{"max_tokens": 5}, {"seed": 1}, {"limit": 0.5}, {"vocab_size": 9}])
    def test_other_settings_have_another_file(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        self.ready(tmp_path)
        self.ready(tmp_path, **changes)
        assert Numbered.reads[0]

    def test_a_damaged_file_is_replaced(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.ready(tmp_path)
        for path in self.files(tmp_path):
            content = bytearray(path.read_bytes())
            content[-300] ^= 1
            content[len(content) // 3] ^= 1
            path.write_bytes(content)
        self.ready(tmp_path)
        assert Numbered.reads == [True, False]
        assert "is damaged" in capsys.readouterr().out
        self.ready(tmp_path)
        assert Numbered.reads == []

    def test_a_foreign_file_is_harmless(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.ready(tmp_path)
        with_train = next(path for path in self.files(tmp_path) if "train_ids" in np.load(path))
        arrays = dict(np.load(with_train))
        for name, wrong in (("train_ids", arrays["train_ids"] + 500), ("train_targets", arrays["train_targets"] + 7)):
            np.savez(with_train, **{**arrays, name: wrong})
            data = self.ready(tmp_path)
            assert Numbered.reads == [True]
            assert data.train
            assert int(data.train[0].max()) < 50
        assert "is not used" in capsys.readouterr().out
        np.savez(with_train, **{**arrays, "train_ids": np.array([{"a": print}], dtype=object)})  # a pickle
        self.ready(tmp_path)
        assert Numbered.reads == [True]

    def test_old_files_are_deleted(self, tmp_path: Path) -> None:
        for number in range(MAX_FILES + 3):
            TextCache(tmp_path, f"{number:03}").get(lambda: {"a": np.zeros(1)}, lambda arrays: "")
        assert len(list(tmp_path.glob(f"{PREFIX}*.npz"))) == MAX_FILES

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match=r"^data.cache: cannot use .*file/texts \(Not a directory\)"):
            self.ready(tmp_path / "file")
