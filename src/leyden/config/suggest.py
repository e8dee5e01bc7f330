"""The nearest thing to a word that was not found."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any


def nearest(word: str, words: Iterable[str], prefix: str = "") -> str:
    """``", did you mean …?"`` or nothing."""
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f", did you mean {prefix}{close[0]}?" if close else ""


def dotted(node: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted key of a config."""
    for key, value in node.items():
        if key == "hydra":
            continue
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}.")
