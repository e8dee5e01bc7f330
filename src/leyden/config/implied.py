"""The task that follows from the content of a file. Hydra cannot choose a group by a file, so it is an override."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from leyden.data.table_columns import target_task
from leyden.data.text_labels import text_task

# override → the function that returns the task, and the default values of the keys that are its arguments.
FILES: Mapping[str, tuple[Callable[..., str], Mapping[str, Any]]] = {
    "data=table": (target_task, {"path": None, "header": True, "target": "target"}),
    "data=text": (text_task, {"path": None, "header": True, "text": "text", "label": "label", "separator": None}),
}


def with_task(overrides: Sequence[str]) -> list[str]:
    """Add the task that the file of ``data=table`` or ``data=text`` implies, unless a task or an experiment is given.

    Raises:
        UserError: the file cannot be read, or has no such column.
    """
    keys = {override.partition("=")[0] for override in overrides}
    chosen = next((override for override in overrides if override in FILES), None)
    if chosen is None or keys & {"task", "experiment"} or "data.path" not in keys:
        return list(overrides)
    task_of, defaults = FILES[chosen]
    given = dict(defaults)
    for override in overrides:
        group, _, name = override.partition("=")[0].partition(".")
        if group == "data" and name in given:
            given[name] = value_of(override)
    optional = {name for name, value in defaults.items() if value is None and name != "path"}
    if not all(isinstance(value, str | int) or name in optional for name, value in given.items()):
        return list(overrides)  # a sweep over files or columns, or a mistake that is reported later
    return [*overrides, f"task={task_of(**given)}"]


def value_of(override: str) -> Any:
    """Return the value of an override, None if it cannot be read."""
    try:
        return OverridesParser.create().parse_overrides([override])[0].value()
    except OverrideParseException:
        return None
