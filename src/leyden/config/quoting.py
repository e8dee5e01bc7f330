"""Quotes for the command line: an override is read twice, first by the shell and then by Hydra."""

import re
import shlex
from collections.abc import Sequence

# Keys whose values are paths or names that the user did not choose for Hydra's grammar.
PATH_KEYS = (
    "resume", "init_from", "paths.logs", "paths.data", "data.root", "data.path", "data.test_path", "data.cache",
    "data.column", "data.time", "data.group", "data.text", "data.label", "data.separator", "model.vectors",
)  # fmt: skip

# Characters that Hydra's grammar accepts in a value without quotes.
PLAIN = re.compile(r"[\w./@%?|-]*", re.ASCII)


def quoted(value: str) -> str:
    """Return `value` as Hydra reads it back: in single quotes if it has characters that Hydra's grammar reserves."""
    if value and PLAIN.fullmatch(value) and not is_other_type(value):
        return value
    # Hydra halves a run of backslashes only in front of a quote, and at the end of the text.
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)
    return f"'{escaped}'"


def is_other_type(value: str) -> bool:
    """Whether Hydra reads the plain text `value` as null, a bool or a number."""
    number = re.fullmatch(r"[-+]?(\d[\d_]*)?\.?\d*([eE][-+]?\d+)?|[-+]?(inf|nan)", value, re.IGNORECASE)
    return bool(number) or value.lower() in ("null", "true", "false")


def override(key: str, value: str) -> str:
    """Return ``key=value``, quoted for Hydra."""
    return f"{key}={quoted(value)}"


def command(*arguments: str) -> str:
    """Return ``python train.py <arguments>``, quoted for the shell. It can be pasted as it is."""
    return shlex.join(["python", "train.py", *arguments])


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """Quote the values of path keys that Hydra could not read otherwise, such as ``data.root=/home/me/Photos (1)``.

    A value that already has quotes, brackets or an interpolation is unchanged. With several runs (``-m``) a comma
    separates values, so there a value with a comma stays as it is, too.
    """
    several = bool({"-m", "--multirun"} & set(arguments))
    return [_quote_path(argument, several) for argument in arguments]


def _quote_path(argument: str, several: bool) -> str:
    key, equals, value = argument.partition("=")
    if not equals or key.lstrip("+") not in PATH_KEYS or value in ("", "null"):
        return argument
    written_for_hydra = value[0] in "'\"[{" or "${" in value or (several and "," in value)
    return argument if written_for_hydra or PLAIN.fullmatch(value) else override(key, value)
