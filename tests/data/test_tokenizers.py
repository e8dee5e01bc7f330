"""Tokenizers: their ids, their way through JSON, and damaged JSON of strangers."""

import importlib.util
import json

import pytest

from leyden.data.byte_pairs import BPE
from leyden.data.tokenizers import KINDS, MAX_TOKENS, Bytes, Characters, Words, build_tokenizer, tokenizer_from_json
from leyden.data.tokens import PADDING, UNKNOWN, Tokenizer
from leyden.errors import UserError

TEXTS = ["The cat sat. The cat didn’t run!", "A dog and the cat", "naïve café 猫 😀"]
NEEDS_BPE = pytest.mark.skipif(not importlib.util.find_spec("tokenizers"), reason="tokenizers is not installed")
EACH_KIND = pytest.mark.parametrize("kind", [*KINDS[:-1], pytest.param("bpe", marks=NEEDS_BPE)])


def built(kind: str, size: int = 300, special: tuple[str, ...] = ()) -> Tokenizer:
    return build_tokenizer(kind, TEXTS, size, special)


def test_words_are_lower_case_and_the_most_frequent_one_comes_first() -> None:
    words = built("words")
    assert words.symbols[:5] == ("<padding>", "<unknown>", "cat", "the", "!")  # cat and the: 3 times; then by name
    assert words.encode("The CAT, didn't") == [3, 2, UNKNOWN, words.symbols.index("didn't")]
    assert words.tokens("The CAT, didn't") == ["the", "cat", ",", "didn't"]
    assert words.decode([2, 3, PADDING, 4]) == "cat the!"


def test_the_size_is_an_upper_bound() -> None:
    words = built("words", 4)
    assert words.symbols == ("<padding>", "<unknown>", "cat", "the")
    assert words.size == 4
    assert words.encode("dog cat") == [UNKNOWN, 2]


def test_characters_give_the_text_back() -> None:
    characters = built("characters", special=("<start>", "<end>"))
    assert characters.decode([2, *characters.encode("The cat"), 3, 0, 0]) == "The cat"
    assert characters.decode(characters.encode("zag")) == "�ag"
    assert characters.id_of("<end>") == 3


def test_bytes_know_every_text() -> None:
    tokenizer = built("bytes", 260, ("<start>", "<end>"))
    assert tokenizer.size == 260
    assert tokenizer.encode("é") == [4 + 0xC3, 4 + 0xA9]
    assert tokenizer.tokens("é a") == ["\\xc3", "\\xa9", "\\x20", "a"]
    assert tokenizer.decode([2, *tokenizer.encode("naïve 猫"), 3]) == "naïve 猫"


@NEEDS_BPE
def test_byte_pairs_join_frequent_pairs_and_know_every_text() -> None:
    bpe = built("bpe", 264, ("<start>", "<end>"))
    assert bpe.size == 264
    assert len(bpe.encode("The cat")) < 7
    assert bpe.tokens("The cat")[-1] == " cat"
    assert bpe.decode([2, *bpe.encode("naïve 猫 <end>"), 3, 0]) == "naïve 猫 <end>"
    assert bpe.decode([UNKNOWN]) == ""


@EACH_KIND
def test_every_tokenizer_survives_json(kind: str) -> None:
    tokenizer = built(kind, special=("<start>", "<end>"))
    again = tokenizer_from_json(tokenizer.to_json())
    assert type(again) is type(tokenizer)
    assert again.symbols == tokenizer.symbols
    for text in [*TEXTS, "an unknown word"]:
        assert again.encode(text) == tokenizer.encode(text)
    assert built(kind, special=("<start>", "<end>")).to_json() == tokenizer.to_json()  # the same texts, the same ids


@EACH_KIND
def test_a_token_is_shown_for_each_id(kind: str) -> None:
    tokenizer = built(kind)
    for text in [*TEXTS, "", "\udcff?"]:
        assert len(tokenizer.tokens(text)) == len(tokenizer.encode(text)) > 0
        assert all(0 < number < tokenizer.size for number in tokenizer.encode(text))


@EACH_KIND
def test_a_text_never_contains_special_symbols(kind: str) -> None:
    tokenizer = build_tokenizer(kind, ["<end> <end> <end>", "x y"], 300, ("<start>", "<end>"))
    assert not {2, 3} & {*tokenizer.encode("<start> <end>")}


def test_an_empty_text_is_one_unknown_token() -> None:
    for tokenizer in (Words(["a"]), Characters(["a"]), Bytes()):
        assert tokenizer.encode("") == [UNKNOWN]


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("letters", 300, "data.tokenizer: got letters, must be one of words, characters, bytes, bpe"),
        ("words", 3, "data.vocab_size: got 3, must be from 4 to"),
        ("words", MAX_TOKENS + 1, "data.vocab_size: got 1048577, must be from 4 to 1,048,576"),
        ("bytes", 257, "data.vocab_size: got 257, must be from 258 to"),
    ],
)
def test_a_tokenizer_that_cannot_be_built(kind: str, size: int, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        build_tokenizer(kind, TEXTS, size)


def test_a_vocabulary_of_one() -> None:
    with pytest.raises(UserError, match=r"^data: the training texts have 1 different words, at least 2 are needed$"):
        build_tokenizer("words", ["no no", "No"], 10)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(UserError, match=r'^data.tokenizer: bpe needs .*: pip install -e "\.\[bpe\]"$'):
        build_tokenizer("bpe", TEXTS, 300)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"kind": "words", "tokens": [1]}',
        '{"kind": "words", "tokens": {"a": 2}}',
        '{"kind": "words", "tokens": ["a", "a"]}',
        '{"kind": "words", "tokens": ["<padding>", "a"]}',
        '{"kind": "pickle", "tokens": []}',
        '{"kind": ["words"]}',
    ],
)
def test_damaged_json_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"^run/tokenizer\.json: is damaged"):
        tokenizer_from_json(text, "run/tokenizer.json")


@NEEDS_BPE
@pytest.mark.parametrize("merges", [None, [["a"]], [["a", "z"]], ["a b"], [["a", "b"], 3]])
def test_damaged_merges_are_one_line(merges: object) -> None:
    text = json.dumps({"kind": "bpe", "tokens": ["a", "b", "ab"], "merges": merges})
    with pytest.raises(UserError, match="is damaged"):
        tokenizer_from_json(text)


@NEEDS_BPE
def test_byte_pairs_from_json_need_not_know_every_byte() -> None:
    assert BPE(["a", "b", "ab"], [("a", "b")]).encode("ab") == [4]
    assert BPE(["a", "b"], []).encode("zz") == [UNKNOWN]
