"""Byte pair encoding (Sennrich et al., 2016) of the bytes of UTF-8, as GPT-2 does it.

It uses the library ``tokenizers``, which is not required: see ``bpe`` in pyproject.toml.
"""

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from leyden.data.tokens import MAX_TOKEN_LENGTH, RESERVED, UNKNOWN, Tokenizer
from leyden.errors import UserError


class BPE(Tokenizer):
    """Byte pair encoding of the bytes of UTF-8, as GPT-2 does it. No text has unknown tokens.

    Args:
        tokens: see `Tokenizer`; each byte is one character, as the library ``tokenizers`` writes it.
        merges: the pairs of tokens that are joined, the first one first.
        special: see `Tokenizer`.
    """

    kind = "bpe"

    def __init__(self, tokens: Sequence[str], merges: Sequence[tuple[str, str]], special: Sequence[str] = ()) -> None:
        super().__init__(tokens, special)
        library = bpe_library()
        self.merges = [(left, right) for left, right in merges]
        vocabulary = {symbol: number for number, symbol in enumerate(self.symbols)}
        self.library = library.Tokenizer(library.models.BPE(vocabulary, self.merges))
        self.library.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        self.library.decoder = library.decoders.ByteLevel()

    def encode(self, text: str) -> list[int]:
        return list(self.library.encode(clean(text)).ids) or [UNKNOWN]

    def tokens(self, text: str) -> list[str]:
        cleaned = clean(text)
        return [cleaned[start:end] for start, end in self.library.encode(cleaned).offsets] or [RESERVED[UNKNOWN]]

    def join(self, ids: Sequence[int]) -> str:
        return str(self.library.decode([number for number in ids if number != UNKNOWN], skip_special_tokens=False))

    def to_json(self) -> str:
        tokens = self.symbols[self.first :]
        return json.dumps({"kind": self.kind, "special": self.special, "tokens": tokens, "merges": self.merges})


def train_bpe(texts: Iterable[str], size: int, special: Sequence[str] = ()) -> BPE:
    """Return byte pair encoding with up to `size` ids that were learned from texts."""
    library = bpe_library()
    learned = library.Tokenizer(library.models.BPE())
    learned.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[*RESERVED, *special],
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=MAX_TOKEN_LENGTH,
        show_progress=False,
    )
    learned.train_from_iterator((clean(text) for text in texts), trainer)
    model = json.loads(learned.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)[len(RESERVED) + len(special) :]
    return BPE(tokens, [tuple(pair) for pair in model["merges"]], special)


def clean(text: str) -> str:
    """Return `text` without characters that UTF-8 does not have, such as bytes that a terminal could not decode."""
    return text.encode(errors="replace").decode()


def bpe_library() -> Any:
    """Return the package ``tokenizers``.

    Raises:
        UserError: it is not installed.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads would not survive the fork of a sweep
    try:
        import tokenizers
    except ImportError as error:
        raise UserError('data.tokenizer: bpe needs the package tokenizers: pip install -e ".[bpe]"') from error
    return tokenizers
