"""Tab completion for the command ``leyden``, in bash, zsh and fish.

Hydra has a completion, too. To complete a line it runs the Python script that the line names, which may be any script.
This one is registered only for ``leyden``, runs only the program from which it was installed, and loads no plugins.
"""

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args, get_origin

from leyden.config.compose import all_keys, groups
from leyden.config.instantiate import argument_types
from leyden.config.quoting import PATH_KEYS
from leyden.config.rules import SECTIONS
from leyden.errors import UserError

OPTIONS = ("--help", "--help-key", "--version", "--cfg", "--multirun", "--hydra-help", "--completion")
MAX_FILES = 200  # of a folder that are listed

# Bash divides a word at "=" and replaces only what follows it. A file may have any name, so words are quoted.
BASH = """\
_leyden_complete() {
    local line=${COMP_LINE:0:COMP_POINT} word cut=
    word=${line##*[[:space:]]}
    if [[ $word == *=* && $COMP_WORDBREAKS == *=* ]]; then cut=${word%=*}=; fi
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$(printf %q "${word#"$cut"}")")
    done < <(COMMAND --complete "$line" 2>/dev/null)
}
complete -o nospace -F _leyden_complete leyden
"""
ZSH = """\
_leyden_complete() {
    local -a found
    found=("${(@f)$(COMMAND --complete "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    compadd -S '' -- ${found:#}
}
compdef _leyden_complete leyden
"""
FISH = """\
complete -c leyden -f -a '(COMMAND --complete (commandline -cp | string collect) 2>/dev/null)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def answer(arguments: Sequence[str]) -> str:
    """Return what ``--completion SHELL`` or ``--complete LINE`` prints.

    Raises:
        UserError: there is no completion for the shell.
    """
    option, *rest = arguments
    if option == "--completion":
        if len(rest) != 1 or rest[0] not in SCRIPTS:
            raise UserError(f"--completion: got {' '.join(rest) or 'nothing'}, must be one of {', '.join(SCRIPTS)}")
        # -P: otherwise Python would import files of the current folder.
        return SCRIPTS[rest[0]].replace("COMMAND", f"{shlex.quote(sys.executable)} -P -m leyden.cli")
    return "".join(f"{word}\n" for word in completions(" ".join(rest)))


def completions(line: str) -> list[str]:
    """Return the words that may replace the last word of a command line, in order.

    Args:
        line: the command line up to the cursor. It is not executed, and nothing that it names is opened.
    """
    *before, word = line.split(" ")
    if not before:
        return []
    overrides = [given for given in before[1:] if "=" in given]
    key, equals, value = word.partition("=")
    found = (f"{key}={option}" for option in _values(key.lstrip("+~"), value)) if equals else _words(overrides)
    return [option for option in found if option.startswith(word)]


def _words(overrides: Sequence[str]) -> Iterator[str]:
    """Yield every option, group and key of the config that `overrides` choose."""
    yield from OPTIONS
    choices = groups()
    yield from (f"{group}=" for group in choices)
    yield from (f"{key}=" for key in all_keys(overrides) if key not in choices and not key.endswith("._target_"))


def _values(key: str, start: str) -> Iterator[str]:
    """Yield the values of a key if there are few: choices, words, true and false, or files."""
    choices = groups()
    if key in choices:
        yield from choices[key]
    elif key in PATH_KEYS:
        yield from _files(start)
    else:
        section, _, name = key.rpartition(".")
        if section in SECTIONS:
            types = argument_types(SECTIONS[section])
            hint = types.get(name)
            for option in (hint, *get_args(hint)):
                if get_origin(option) is Literal:
                    yield from map(str, get_args(option))
                elif option is bool:
                    yield from ("true", "false")


def _files(start: str) -> Iterator[str]:
    """Yield the paths that begin with `start`; folders end in a slash."""
    folder, slash, name = start.rpartition("/")
    try:
        entries = sorted(Path(folder + slash).expanduser().iterdir())
    except OSError:
        return
    shown = [entry for entry in entries if entry.name.startswith(name) and entry.name.isprintable()]
    for entry in shown[:MAX_FILES]:
        if name or not entry.name.startswith("."):
            yield f"{folder}{slash}{entry.name}{'/' * entry.is_dir()}"
