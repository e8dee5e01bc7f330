"""The task that follows from the content of a file. Hydra cannot choose a group by a file, so it is an override."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from leyden.data.table_columns import target_task

KEYS = ("data.path", "data.target", "data.header")


def with_task(overrides: Sequence[str]) -> list[str]:
    """Add the task that the target column of ``data=table`` implies, unless a task or an experiment is given.

    Raises:
        UserError: the table cannot be read, or has no such column.
    """
    keys = {override.partition("=")[0] for override in overrides}
    if "data=table" not in overrides or keys & {"task", "experiment"} or "data.path" not in keys:
        return list(overrides)
    given: dict[str, Any] = {"data.header": True, "data.target": "target"}
    for override in overrides:
        if (key := override.partition("=")[0]) in KEYS:
            given[key] = value_of(override)
    if not all(isinstance(value, str | int) for value in given.values()):
        return list(overrides)  # a sweep over files or columns, or a mistake that is reported later
    task = target_task(str(given["data.path"]), bool(given["data.header"]), given["data.target"])
    return [*overrides, f"task={task}"]


def value_of(override: str) -> Any:
    """Return the value of an override, None if it cannot be read."""
    try:
        return OverridesParser.create().parse_overrides([override])[0].value()
    except OverrideParseException:
        return None
