"""Suggestions for words that were not found."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any


def nearest(word: str, words: Iterable[str], prefix: str = "") -> str:
    """Return ``", did you mean …?"`` with the nearest of `words`, or an empty text if none is near."""
    options = {option.lower(): option for option in words}
    close = difflib.get_close_matches(word.lower(), list(options), n=1, cutoff=0.5)
    return f", did you mean {prefix}{options[close[0]]}?" if close else ""


def dotted(node: Any, prefix: str = "") -> Iterator[str]:
    """Return every dotted key of the config `node`, without those of Hydra."""
    for key, value in node.items():
        if key == "hydra":
            continue
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}.")
