"""Running text: windows worked out by hand, what each split may see, and files that are wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch

from leyden.data import characters
from leyden.data.characters import ShiftedWindows, manual, pieces
from leyden.data.file_access import read_utf8
from leyden.data.loaders import TrainLoader
from leyden.errors import UserError
from leyden.seeding import generator
from tests.data.building import build_data

TEXT = "abcdefghij" * 10  # 100 characters: 72 for training, 8 for validation, 20 for the test


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


def ready(file: Path, *overrides: str) -> Any:
    """The data set of a file, in windows of 5 tokens, after reading all of its splits."""
    data = build_data("characters", f"data.path={file}", "data.block=5", "data.test_fraction=0.2", *overrides)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return data


def decoded(data: Any, ids: torch.Tensor) -> list[str]:
    return [data.vocabulary.decode(row) for row in ids.tolist()]


def test_windows_and_what_follows_them(file: Path) -> None:
    data = ready(file)
    assert data.sizes() == {"train": 14, "val": 2, "test": 4}
    assert decoded(data, data.train[0])[:2] == ["abcde", "fghij"]
    assert decoded(data, data.train[1])[:2] == ["bcdef", "ghija"]
    # The validation part has the characters 72 to 79. The first one is predicted from the last one before it.
    assert decoded(data, data.val[0]) == ["bcdef", "ghij"]
    assert decoded(data, data.val[1]) == ["cdefg", "hij"]
    assert data.val[1][1].tolist()[3:] == [0, 0]
    assert "".join(decoded(data, data.test[1])) == TEXT[80:]
    assert (data.train[0].dtype, data.val[1].dtype) == (torch.int16, torch.int64)


def test_each_token_of_validation_and_test_is_a_target_once(file: Path) -> None:
    data = ready(file, "data.block=7")
    for (_, targets), part in ((data.val, TEXT[72:80]), (data.test, TEXT[80:])):
        assert "".join(decoded(data, targets)) == part


def test_the_vocabulary_is_that_of_the_training_part(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("ab" * 36 + "vv" * 4 + "tt" * 10)
    data = ready(file)
    assert data.vocabulary.symbols[2:] == ("a", "b")
    assert set(data.val[1].flatten().tolist()) == {1, 0}
    assert data.facts().num_tokens == 4


def test_limit_keeps_the_end_of_the_training_part_and_train_on_all_adds_the_validation(file: Path) -> None:
    half = ready(file, "data.limit=0.5")
    assert (half.sizes()["train"], decoded(half, half.train[0])[0]) == (7, "ghija")
    everything = ready(file, "data.train_on_all=true")
    assert everything.sizes() == {"train": 15, "val": 2, "test": 4}


class TestShifts:
    def test_windows_begin_at_another_place_in_each_epoch(self, file: Path) -> None:
        data = ready(file)
        seen = set()
        for epoch in range(6):
            data.position = lambda epoch=epoch: (epoch, 0)
            batches = list(data.train_dataloader())
            inputs, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
            assert inputs.shape == targets.shape == (14, 5)
            assert inputs.dtype == targets.dtype == torch.int64
            texts = [one + two[-1] for one, two in zip(decoded(data, inputs), decoded(data, targets), strict=True)]
            assert all(text in TEXT for text in texts)
            seen.add(min(texts))
        assert len(seen) > 1

    def test_the_last_window_ends_where_the_text_ends(self) -> None:
        ids = torch.arange(21)
        windows = ShiftedWindows(ids[:20].view(4, 5), ids[1:].view(4, 5))
        inputs, targets = windows(torch.tensor([0, 3]), torch.tensor([4, 4]))
        assert inputs.tolist() == [[4, 5, 6, 7, 8], [15, 16, 17, 18, 19]]
        assert targets.tolist() == [[5, 6, 7, 8, 9], [16, 17, 18, 19, 20]]

    def test_an_epoch_is_a_function_of_its_seed_and_number_and_shared_by_all_processes(self, file: Path) -> None:
        data = ready(file)

        def epoch(seed: int, world: int = 1, rank: int = 0, number: int = 3) -> list[Any]:
            augment = data.augmentation(*data.train)
            loader = TrainLoader(
                *data.train, 4 // world, torch.Tensor.long, augment=augment, seeds=[seed], rank=rank, world=world,
                position=lambda: (number, 0),
            )  # fmt: skip
            return [inputs.tolist() for inputs, _ in loader]

        assert epoch(0) == epoch(0)
        assert epoch(0) != epoch(1)
        assert epoch(0) != epoch(0, number=4)
        one, two = epoch(0, 2, 0), epoch(0, 2, 1)
        for whole, *halves in zip(epoch(0)[:3], one, two, strict=False):
            assert sorted(whole) == sorted(halves[0] + halves[1])

    def test_all_shifts_occur(self) -> None:
        windows = ShiftedWindows(torch.zeros(3, 4), torch.zeros(3, 4))
        shifts = {int(windows.draw(3, generator(0, "augment", epoch))[0][0]) for epoch in range(60)}
        assert shifts == {0, 1, 2, 3}


class TestCharactersPerToken:
    def test_of_words(self, tmp_path: Path) -> None:
        (tmp_path / "text.txt").write_text("one two, " * 30)
        data = ready(tmp_path / "text.txt", "data.tokenizer=words", "data.vocab_size=20")
        assert data.characters_per_token("test") == 54 / 18  # one, two and the comma: nine characters, three tokens

    def test_of_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "text.txt").write_text("aé" * 50, encoding="utf-8")
        data = ready(tmp_path / "text.txt", "data.tokenizer=bytes")
        assert data.characters_per_token("val") == 2 / 3

    def test_of_characters(self, file: Path) -> None:
        assert ready(file).characters_per_token("val") == 1


class TestPrompts:
    def test_an_empty_prompt_is_a_new_line_or_a_token_that_there_is(self, file: Path, tmp_path: Path) -> None:
        assert ready(file).prompt("") == [2]
        (tmp_path / "lines.txt").write_text("ab\n" * 50)
        data = ready(tmp_path / "lines.txt")
        assert data.vocabulary.decode(data.prompt("")) == "\n"

    def test_a_continuation_keeps_the_prompt(self, tmp_path: Path) -> None:
        (tmp_path / "text.txt").write_text("one two, " * 30)
        data = ready(tmp_path / "text.txt", "data.tokenizer=words", "data.vocab_size=20")
        two, comma = data.vocabulary.encode("two,")
        assert data.continued("One", [two, comma, two]) == "One two, two"
        assert data.continued("", [two, comma]) == "two,"

    def test_a_text_to_predict_is_padded_on_the_right_and_cut_on_the_left(self, file: Path) -> None:
        data = ready(file)
        assert decoded(data, data.encode("abcdefgh")[None]) == ["defgh"]
        assert data.encode("ab").tolist()[2:] == [0, 0, 0]
        with pytest.raises(UserError, match=r"^text: got int, must be a text"):
            data.encode(5)


def test_the_tokenizer_is_a_file_of_the_run(file: Path) -> None:
    written = ready(file).files_of_run()
    again = build_data("characters", f"data.path={file}")
    again.use_files_of_run(written.__getitem__)
    assert again.vocabulary.symbols == ready(file).vocabulary.symbols
    small = build_data("characters", "data.vocab_size=5")
    with pytest.raises(UserError, match=r"^tokenizer.json: has 12 tokens, but data.vocab_size is 5"):
        small.use_files_of_run(written.__getitem__)


def test_the_built_in_text_is_english_and_long_enough() -> None:
    text = manual()
    assert len(text) > 100_000
    assert text.count(" the ") > 1_000


def test_pieces_give_the_text_and_end_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(characters, "PIECE", 8)
    for text in ("", "one two three four", "a\nb", "x" * 20, "one two\nthree" * 3):
        found = list(pieces(text))
        assert "".join(found) == text
        assert all(len(piece) <= 8 for piece in found)
    assert list(pieces("one two three")) == ["one two ", "three"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"data.path: .*text.txt has no text"),
        (b" \n\n", r"data.path: .*text.txt has no text"),
        (b"aaaa" * 100, "data: the training texts have 1 different characters, at least 2 are needed"),
        (b"abcdefg", "data.block: windows of 5 tokens .* do not fit into the training part, which has 5 tokens"),
        (b"ab", "data.(val|test)_fraction: 0.[12] of a text of 2 characters leaves an empty part"),
        (
            b"one\ntwo\nth\xe9 three\n" * 9,
            r"data.path: line 3 of .*text.txt is not UTF-8 \(invalid .*\); save",
        ),
        (b"one\ntwo\0\n" * 9, "data.path: line 2 of .*text.txt contains a NUL character"),
    ],
)
def test_a_wrong_file_gives_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(UserError, match=f"^{message}") as error:
        ready(tmp_path / "text.txt")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.path=/nowhere/text.txt", "data.path: there is no file /nowhere/text.txt"),
        ("data.path=''", r"data.path: \. is not a regular file"),
        ("data.block=0", "data.block: got 0, must be at least 1"),
        ("data.shape=[7]", r"data.shape: got \[7\], must be \[data.block\], here \[64\]"),
        ("data.test_fraction=1", "data.test_fraction: got 1, must be between 0 and 1"),
        (
            "data.tokenizer=letters",
            r"data.tokenizer: got letters, did you mean bytes\?; allowed are characters, bytes, words, bpe",
        ),
        ("data.vocab_size=3", "data.vocab_size: got 3, must be from 4"),
    ],
)
def test_a_wrong_value_names_its_key(override: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        build_data("characters", override).prepare_data()


def test_encodings(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes("é\r\nb\n".encode(encoding))
        assert read_utf8(path, "data.path") == "é\nb\n"
