"""The user's own code outside `src/`: folders with Python files and a folder ``conf`` that works like Leyden's own.

Such a folder is named on the command line (``plugins=[FOLDER]``), in the environment variable LEYDEN_PLUGINS
(separated as in PATH), or by an installed package with an entry point in the group ``leyden.plugins``. A run folder
never names one: its code would run without the user's consent.
"""

import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from leyden.config.instantiate import trust
from leyden.errors import UserError

VARIABLE = "LEYDEN_PLUGINS"
ENTRY_POINTS = "leyden.plugins"

_conf_folders: list[Path] = []
_loaded: set[Path] = set()


def conf_folders() -> Sequence[Path]:
    """The ``conf`` folders of all plugins that were loaded."""
    return tuple(_conf_folders)


def load_plugins(overrides: Iterable[str] = ()) -> None:
    """Load the plugins of the environment, of installed packages, and of ``plugins=[…]`` among `overrides`.

    Raises:
        UserError: a folder does not exist, or a file in it has the name of another module.
    """
    folders = [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    for override in overrides:
        key, equals, value = override.partition("=")
        if equals and key == "plugins" and value not in ("", "null"):
            folders += [folder.strip().strip("'\"") for folder in value.strip("[]").split(",") if folder.strip()]
    for folder in folders:
        load_folder(Path(folder))
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        spec = importlib.util.find_spec(entry_point.value)
        if spec and spec.submodule_search_locations:
            trust(entry_point.value)
            _add_conf(Path(next(iter(spec.submodule_search_locations))))


def load_folder(folder: Path) -> None:
    """Make the modules in `folder` importable as `_target_`, and its ``conf`` part of the configuration."""
    folder = folder.expanduser().resolve()
    if folder in _loaded:
        return
    if not folder.is_dir():
        raise UserError(f"plugins: there is no folder {folder}")
    for name in _modules(folder):
        found = importlib.machinery.PathFinder.find_spec(name)
        taken = found is not None and not str(found.origin).startswith(str(folder))
        if name in sys.stdlib_module_names or taken:
            raise UserError(f"plugins: {folder / name} has the name of another Python module. Rename it")
        trust(name)
    sys.path.insert(0, str(folder))
    _loaded.add(folder)
    _add_conf(folder)


def _modules(folder: Path) -> list[str]:
    """The names of the Python files and packages directly in `folder`."""
    files = [path.stem for path in folder.glob("*.py") if path.stem != "__init__"]
    packages = [path.parent.name for path in folder.glob("*/__init__.py")]
    return sorted({*files, *packages})


def _add_conf(folder: Path) -> None:
    if (folder / "conf").is_dir() and folder / "conf" not in _conf_folders:
        _conf_folders.append(folder / "conf")
