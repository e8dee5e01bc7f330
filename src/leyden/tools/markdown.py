"""Write Markdown from text that may come from a stranger: it cannot add markup, HTML, links or control characters."""

import re
from collections.abc import Iterable, Sequence

# "@", and ":" and "." within a word: no address becomes a link
SPECIAL = re.compile(r"([\\`*_{}\[\]()#|~$@]|[:.](?=\S))")
MANY = 50  # names; of more, only the first ones are listed
MAX_LENGTH = 2000  # characters of one text


def plain(value: object) -> str:
    """Return a value as one line without control characters, at most `MAX_LENGTH` characters."""
    text = " ".join(str(value).split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1]}…"


def escaped(value: object) -> str:
    """Return a value as text in which nothing is markup."""
    text = plain(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return SPECIAL.sub(r"\\\1", text)


def code(value: object) -> str:
    """Return a value as code within a line. It has more backticks around it than it contains in a row."""
    text = plain(value)
    fence = "`" * (longest_run(text) + 1)
    space = " " if text.startswith("`") or text.endswith("`") or not text else ""
    # A table splits its cells before it looks for code.
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")


def fenced(text: str, language: str = "") -> str:
    """Return lines as a block of code, without control characters."""
    lines = ["".join(c if c.isprintable() else "?" for c in line) for line in text.split("\n")]
    fence = "`" * max(3, longest_run(text) + 1)
    return "\n".join([f"{fence}{language}", *lines, fence])


def longest_run(text: str) -> int:
    """Return the length of the longest row of backticks."""
    return max((len(run) for run in re.findall("`+", text)), default=0)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def listed(names: Sequence[object]) -> str:
    """Return names as code, with commas between."""
    shown = ", ".join(code(name) for name in names[:MANY])
    return shown if len(names) <= MANY else f"{shown} and {len(names) - MANY} more"
