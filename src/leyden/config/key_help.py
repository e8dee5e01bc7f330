"""What ``--help KEY`` prints: the value of a key, its type, and what it means.

The meaning comes from the docstring of the class that receives the value, or from the comment in the YAML file.
"""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from leyden.config.compose import CONF, groups, unknown_key, with_choices
from leyden.config.instantiate import argument_types, describe, locate
from leyden.config.plugins import conf_folders
from leyden.config.rules import BUILT, RESUMABLE, SECTIONS
from leyden.errors import UserError

WIDTH = 100  # characters of a line
LINE = re.compile(r"( *)([\w-]+):(?: (.*?))?(?: +# (.*))?")  # indentation, key, value, comment
ARGUMENTS = re.compile(r"(?:^|\n)Args:\n(.*?)(?=\n\S|\Z)", re.DOTALL)


def key_help(key: str, overrides: Sequence[str] = ()) -> str:
    """Return several lines about a key: of a single value, a section, or a group with its choices.

    Args:
        key: for example ``optimizer.lr``, ``trainer`` or ``model``.
        overrides: ``group=choice``; the other overrides of the command line are ignored.

    Raises:
        UserError: there is no such key. The message names the nearest one.
    """
    cfg = with_choices(overrides)
    chosen = OmegaConf.to_container(cfg.hydra.runtime.choices)
    assert isinstance(chosen, dict)
    parent, _, name = key.rpartition(".")
    section = plain_section(cfg, parent)
    known = name in section
    if not known and key not in groups():
        raise UserError(unknown_key(key, overrides))
    comments = Comments(chosen)
    lines = [key]
    if key in groups():
        lines += _choices(key, chosen)
    if known and isinstance(section[name], dict):
        lines += [f"  {line}" for line in _section(key, section[name], comments)]
    elif known:
        lines += _single(key, cfg, chosen, comments)
    return "\n".join(lines) + "\n"


def _choices(group: str, chosen: Mapping[Any, Any]) -> Iterator[str]:
    choices = groups()[group]
    width = max(len(name) for name in choices)
    yield f"  a group; chosen: {chosen.get(group, 'nothing')}"
    for name, headline in choices.items():
        yield f"    {group}={name:{width}}  {headline}"


def plain_section(cfg: DictConfig, key: str) -> dict[Any, Any]:
    """Return a section with unresolved plain values; an empty one if there is no such section."""
    section = OmegaConf.select(cfg, key) if key else cfg
    values = OmegaConf.to_container(section, resolve=False) if isinstance(section, DictConfig) else {}
    assert isinstance(values, dict)
    return values


def _section(key: str, raw: Mapping[Any, Any], comments: "Comments") -> Iterator[str]:
    names = [str(name) for name in raw if name != "_target_"]
    width = max((len(f"{key}.{name}={shown(raw[name])}") for name in names), default=0)
    for name in names:
        comment = comments.find(f"{key}.{name}")
        line = f"{key}.{name}={shown(raw[name])}"
        yield f"{line:{min(width, 40)}}  {comment}".rstrip()


def _single(key: str, cfg: DictConfig, chosen: Mapping[Any, Any], comments: "Comments") -> Iterator[str]:
    group, _, name = key.rpartition(".")
    where = f"  (of {group}={chosen[group]})" if group in chosen else ""
    rows = {"value": f"{shown(_value(cfg, key))}{where}"}
    function = receiver(group, cfg)
    known = argument_types(function) if function else {}
    if name in known:
        rows["type"] = describe(known[name])
    meaning, comment = described(function).get(name, ""), comments.find(key)
    rows["meaning"] = meaning or comment or "is not described"
    if meaning and comment not in meaning:
        rows["in conf/"] = comment
    if key.partition(".")[0] not in ("sweep", "hydra"):
        rows["resume"] = f"{'can change' if key in RESUMABLE else 'stays the same'} when a run is resumed"
    for label, text in rows.items():
        yield textwrap.fill(text, WIDTH, initial_indent=f"  {label:9} ", subsequent_indent=" " * 12)


def receiver(group: str, cfg: DictConfig) -> Callable[..., Any] | None:
    """Return the class or function that receives the keys of a section as arguments, if it is known."""
    if group in SECTIONS:
        return SECTIONS[group]
    if group in BUILT:
        return locate(str(cfg[group]["_target_"]), group)
    return None


def _value(cfg: DictConfig, key: str) -> Any:
    """Return the value of a key, or its text where it refers to a key that this config does not have."""
    try:
        return OmegaConf.select(cfg, key)
    except (OmegaConfBaseException, UserError):
        group, _, name = key.rpartition(".")
        return plain_section(cfg, group)[name]


def shown(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{shown(item)}" for name, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return f"[{','.join(shown(item) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def described(function: Any) -> dict[str, str]:
    """Return argument → its description in the section "Args" of a docstring. Several arguments may share one."""
    found = ARGUMENTS.search(inspect.getdoc(function) or "")
    entries = re.split(r"\n(?= {4}\S)", found[1]) if found else []
    descriptions: dict[str, str] = {}
    for entry in entries:
        head, _, text = entry.partition(":")
        names = re.sub(r"\(.*?\)", "", head).split(",")  # without the types in torch's docstrings
        descriptions |= {name.strip(): " ".join(text.split()) for name in names}
    return descriptions


class Comments:
    """The comments behind the keys of the YAML files in ``conf/``.

    Args:
        chosen: group → choice; the comments in their files come first.
    """

    def __init__(self, chosen: Mapping[Any, Any]) -> None:
        self.chosen = chosen

    def find(self, key: str) -> str:
        """Return the comment behind a key, or an empty text."""
        group = key.partition(".")[0]
        for file, prefix in self._files(group):
            if text := yaml_comments(file, prefix).get(key):
                return text
        return ""

    def _files(self, group: str) -> Iterator[tuple[Path, str]]:
        """Yield the files that may define keys of a group, and what precedes their keys."""
        for folder in (conf / group for conf in (CONF, *conf_folders())):
            if folder.is_dir():
                own = folder / f"{self.chosen.get(group, '')}.yaml"
                files = sorted(folder.glob("*.yaml"), key=lambda file: (file != own, file.name))
                yield from ((file, group) for file in files)
        yield CONF / "config.yaml", ""


def yaml_comments(file: Path, prefix: str) -> dict[str, str]:
    """Return dotted key → the comment behind it in a YAML file.

    Args:
        file: the file.
        prefix: precedes its keys, unless the file says that they belong to the top level.
    """
    text = file.read_text(encoding="utf-8")
    parents: list[tuple[int, str]] = [] if text.startswith("# @package _global_") or not prefix else [(-1, prefix)]
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := LINE.fullmatch(line):
            indentation = len(match[1])
            while parents and parents[-1][0] >= indentation:
                parents.pop()
            parents.append((indentation, match[2]))
            if match[4]:
                found[".".join(name for _, name in parents)] = match[4]
    return found
