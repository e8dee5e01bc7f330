"""Tokenizers of words, characters and bytes, and the functions that build and load a tokenizer of any kind."""

import json
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from leyden.data.byte_pairs import BPE, bpe_library, train_bpe
from leyden.data.tokens import MAX_TOKEN_LENGTH, REPLACEMENT, RESERVED, UNKNOWN, Tokenizer
from leyden.errors import UserError

MAX_BYTES = 1 << 26  # of the JSON of a tokenizer
MAX_TOKENS = 1 << 20
WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]")


class _Vocabulary(Tokenizer):
    """A tokenizer that cuts a text into pieces and looks each one up."""

    def __init__(self, tokens: Sequence[str], special: Sequence[str] = ()) -> None:
        super().__init__(tokens, special)
        self.ids = {token: self.first + number for number, token in enumerate(tokens)}

    @staticmethod
    @abstractmethod
    def split(text: str) -> Sequence[str]:
        """Cut a text into pieces."""

    def encode(self, text: str) -> list[int]:
        find = self.ids.get
        return [find(piece, UNKNOWN) for piece in self.split(text)] or [UNKNOWN]

    def tokens(self, text: str) -> list[str]:
        return list(self.split(text)) or [RESERVED[UNKNOWN]]


class Words(_Vocabulary):
    """Words in lower case, and punctuation marks, one token each. Spaces and line breaks are not kept."""

    kind = "words"

    @staticmethod
    def split(text: str) -> Sequence[str]:
        return WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))

    def join(self, ids: Sequence[int]) -> str:
        words = " ".join(REPLACEMENT if number == UNKNOWN else self.symbols[number] for number in ids)
        return re.sub(r" (?=[.,;:!?)\]}])|(?<=[(\[{]) ", "", words)


class Characters(_Vocabulary):
    """Single characters of Unicode."""

    kind = "characters"

    @staticmethod
    def split(text: str) -> Sequence[str]:
        return text

    def join(self, ids: Sequence[int]) -> str:
        return "".join(REPLACEMENT if number == UNKNOWN else self.symbols[number] for number in ids)


class Bytes(Tokenizer):
    """The bytes of UTF-8. No text has unknown tokens."""

    kind = "bytes"

    def __init__(self, special: Sequence[str] = ()) -> None:
        super().__init__([shown_byte(value) for value in range(256)], special)

    def encode(self, text: str) -> list[int]:
        return [self.first + value for value in text.encode(errors="replace")] or [UNKNOWN]

    def tokens(self, text: str) -> list[str]:
        return [self.symbols[number] for number in self.encode(text)]

    def join(self, ids: Sequence[int]) -> str:
        return bytes(number - self.first for number in ids if number >= self.first).decode(errors="replace")

    def to_json(self) -> str:
        return json.dumps({"kind": self.kind, "special": self.special})


KINDS = (Words.kind, Characters.kind, Bytes.kind, BPE.kind)


def shown_byte(value: int) -> str:
    """Return a byte as text: the character of ASCII, or its number as in Python."""
    return chr(value) if 32 < value < 127 else f"\\x{value:02x}"


def check_tokenizer(kind: str, size: int, special: Sequence[str] = ()) -> None:
    """Raise UserError if there is no such tokenizer, it lacks a package, or `size` is too small for it."""
    if kind not in KINDS:
        raise UserError(f"data.tokenizer: got {kind}, must be one of {', '.join(KINDS)}")
    if kind == BPE.kind:
        bpe_library()
    reserved = len(RESERVED) + len(special)
    least = reserved + (256 if kind in (Bytes.kind, BPE.kind) else 2)
    if not least <= size <= MAX_TOKENS:
        raise UserError(
            f"data.vocab_size: got {size}, must be from {least} to {MAX_TOKENS:,} with data.tokenizer={kind}"
        )


def build_tokenizer(kind: str, texts: Iterable[str], size: int, special: Sequence[str] = ()) -> Tokenizer:
    """Return a tokenizer for texts. The same texts give the same tokenizer.

    Args:
        kind: one of `KINDS`.
        texts: the texts of the training split.
        size: largest number of ids; the most frequent tokens are kept.
        special: names of special symbols with the ids 2, 3, …

    Raises:
        UserError: see `check_tokenizer`; or the texts have fewer than two different tokens.
    """
    check_tokenizer(kind, size, special)
    if kind == Bytes.kind:
        return Bytes(special)
    if kind == BPE.kind:
        return train_bpe(texts, size, special)
    chosen = Words if kind == Words.kind else Characters
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(chosen.split(text))
    known = sorted((token for token in counts if len(token) <= MAX_TOKEN_LENGTH), key=lambda one: (-counts[one], one))
    if len(known) < 2:
        raise UserError(f"data: the training texts have {len(known)} different {kind}, at least 2 are needed")
    return chosen(known[: size - len(RESERVED) - len(special)], special)


def tokenizer_from_json(text: str, source: str = "tokenizer.json") -> Tokenizer:
    """Return the tokenizer of a text that `Tokenizer.to_json` wrote. It may come from a stranger.

    Args:
        text: the JSON.
        source: the file that it comes from, for messages.

    Raises:
        UserError: the text is damaged, or the tokenizer lacks a package.
    """
    if len(text) > MAX_BYTES:
        raise UserError(f"{source}: is larger than {MAX_BYTES >> 20} MB, so it is not a tokenizer of Leyden")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind not in KINDS:
        raise UserError(f"{source}: is damaged (it does not describe a tokenizer)")
    special, tokens = (_strings(values, name, source) for name in ("special", "tokens"))
    if kind == Bytes.kind:
        return Bytes(special)
    if len({*RESERVED, *special, *tokens}) != len(RESERVED) + len(special) + len(tokens):
        raise UserError(f"{source}: is damaged (a token occurs twice)")
    if kind == BPE.kind:
        return BPE(tokens, _merges(values, {*tokens}, source), special)
    return Words(tokens, special) if kind == Words.kind else Characters(tokens, special)


def _strings(values: dict[str, Any], name: str, source: str) -> list[str]:
    found = values.get(name, [])
    if isinstance(found, list) and len(found) <= MAX_TOKENS and all(isinstance(one, str) for one in found):
        return found
    raise UserError(f"{source}: is damaged ({name} must be a list of texts)")


def _merges(values: dict[str, Any], tokens: set[str], source: str) -> list[tuple[str, str]]:
    """Return the merges, of which each joins two tokens to a third one: the library ends the process otherwise."""
    pairs = values.get("merges")
    if not isinstance(pairs, list) or len(pairs) > MAX_TOKENS:
        raise UserError(f"{source}: is damaged (merges must be a list of pairs)")
    for pair in pairs:
        is_pair = isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, str) for one in pair)
        if not is_pair or not {*pair, "".join(pair)} <= tokens:
            raise UserError(f"{source}: is damaged (a merge is not a pair of tokens)")
    return [(left, right) for left, right in pairs]
