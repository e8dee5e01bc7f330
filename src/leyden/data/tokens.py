"""What all tokenizers share: they convert texts to token ids and back.

Id 0 is padding and id 1 an unknown token. The ids from 2 on are the special symbols that a data set asks for, such as
``<start>``, then come the tokens. A special symbol never comes from a text: the text ``<start>`` has the tokens of its
characters.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

PADDING, UNKNOWN = 0, 1
RESERVED = ("<padding>", "<unknown>")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # stands for an unknown token in a decoded text
MAX_TOKEN_LENGTH = 100  # characters; longer words are unknown


class Tokenizer(ABC):
    """Converts texts to token ids.

    Args:
        tokens: the tokens without the reserved and special ones, in the order of their ids.
        special: names of special symbols; their ids are 2, 3, …
    """

    kind: ClassVar[str]

    def __init__(self, tokens: Sequence[str], special: Sequence[str] = ()) -> None:
        self.special = tuple(special)
        self.symbols = (*RESERVED, *self.special, *tokens)
        self.first = len(RESERVED) + len(self.special)  # id of the first token of texts

    @property
    def size(self) -> int:
        """Number of ids, with padding, the unknown token and the special symbols."""
        return len(self.symbols)

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, at least one: a text without tokens is one unknown token."""

    @abstractmethod
    def tokens(self, text: str) -> list[str]:
        """Return the tokens of a text to show them, one for each id of `encode`."""

    @abstractmethod
    def join(self, ids: Sequence[int]) -> str:
        """Return the text of ids without padding and special symbols."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids. Padding and special symbols are left out; an unknown token is U+FFFD."""
        return self.join([number for number in ids if number == UNKNOWN or number >= self.first])

    def id_of(self, special: str) -> int:
        """Return the id of a special symbol."""
        return len(RESERVED) + self.special.index(special)

    def to_json(self) -> str:
        """Return all that `tokenizer_from_json` needs."""
        return json.dumps({"kind": self.kind, "special": self.special, "tokens": self.symbols[self.first :]})
