"""Search spaces, such as `optimizer.lr=tag(log, interval(1e-4, 1e-1))`: a list of axes, one per key.

A point is a dictionary: the name of each axis that applies → its value, in the order of the axes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep

from leyden.errors import UserError
from leyden.sweep.axes import Axis, Choice, Condition, Number, Value, parse, parse_value

Point = dict[str, Value]


@dataclass(frozen=True)
class Space:
    """A search space.

    Args:
        axes: the axes, in the order in which their values are chosen.
        fixed: keys with one value, as text; conditions may refer to them.
    """

    axes: tuple[Axis, ...]
    fixed: Mapping[str, str]

    def walk(self, value_of: Callable[[Axis], Value | None]) -> Point:
        """Return a point. `value_of` gives the value of each axis that applies, or None to leave the axis out."""
        point: Point = {}
        chosen = dict(self.fixed)
        for axis in self.axes:
            if axis.applies(chosen):
                value = value_of(axis)
                if value is not None:
                    point[axis.name] = value
                    chosen[axis.key] = str(value)
        return point

    def points(self) -> list[Point]:
        """Return all combinations. The last axis changes fastest."""
        found: list[Point] = []

        def extend(point: Point, chosen: dict[str, str], axes: Sequence[Axis]) -> None:
            if not axes:
                found.append(point)
                return
            axis, rest = axes[0], axes[1:]
            if not axis.applies(chosen):
                extend(point, chosen, rest)
                return
            for value in axis.values():
                extend({**point, axis.name: value}, {**chosen, axis.key: str(value)}, rest)

        extend({}, dict(self.fixed), self.axes)
        return found

    def overrides(self, point: Mapping[str, Value]) -> list[str]:
        """Return ``key=value`` for each value of `point`."""
        return [f"{axis.key}={point[axis.name]}" for axis in self.axes if axis.name in point]

    def point_at(self, values: Mapping[str, Any]) -> Point:
        """Return the point of an entry of ``sweep.enqueue``, which need not contain all axes.

        Args:
            values: key → value.

        Raises:
            UserError: a key or a value is not in the space.
        """
        keys = {axis.key for axis in self.axes}
        for key in values:
            if key not in keys:
                raise UserError(f"sweep.enqueue: {key} is not searched; searched keys: {', '.join(sorted(keys))}")

        def value_of(axis: Axis) -> Value | None:
            if axis.key not in values:
                return None
            value = axis.match(values[axis.key])
            if value is None:
                raise UserError(f"sweep.enqueue: {axis.key}={values[axis.key]} is outside of the search space {axis}")
            return value

        return self.walk(value_of)


def read_axes(space: Mapping[str, Any], loader: ConfigLoader, conditions: tuple[Condition, ...] = ()) -> list[Axis]:
    """Return the axes of ``sweep.space``.

    Args:
        space: ``key: values``, and ``key=value: {…}`` for axes that are searched only under this choice.
        loader: Hydra's loader, which knows the config groups.
        conditions: conditions of all of these axes.

    Raises:
        UserError: an entry cannot be read.
    """
    axes = []
    for key, value in space.items():
        if isinstance(value, Mapping):
            parent, equals, choice = key.partition("=")
            if not equals:
                raise UserError(f"sweep.space: {key} contains a mapping, so its name must have the form KEY=VALUE")
            axes += read_axes(value, loader, (*conditions, (parent, choice)))
        else:
            (override,) = parse([f"{key}={value}"], loader)
            if not override.is_sweep_override():
                raise UserError(f"sweep.space: {key}={value} is one value; move it to sweep.overrides")
            axes.append(read_axis(override, conditions))
    return axes


def read_axis(override: Override, conditions: tuple[Condition, ...] = ()) -> Axis:
    """Return the axis of an override with several values: a list, choice, range, interval or glob.

    Raises:
        UserError: it contains no value, or an interval is empty or not possible on a logarithmic scale.
    """
    key, sweep = override.get_key_element(), override.value()
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None
        assert sweep.end is not None
        if sweep.start >= sweep.end:
            raise UserError(f"{key}: the interval from {sweep.start} to {sweep.end} is empty")
        integer, log = isinstance(sweep.start, int), "log" in sweep.tags
        if log and sweep.start <= 0:
            raise UserError(f"{key}: an interval on a logarithmic scale must start above 0, got {sweep.start}")
        return Number(key, conditions, sweep.start, sweep.end, 1 if integer else 0, integer, log)
    values = [
        text for text in override.sweep_string_iterator() if not (isinstance(sweep, Glob) and text.startswith("_"))
    ]
    if not values:
        raise UserError(f"{key}: {override.input_line} contains no value")
    if isinstance(sweep, RangeSweep) and len(values) > 1 and not sweep.shuffle:
        # Rounded, because Hydra adds the steps up: 0.1 + 0.1 + 0.1 is 0.30000000000000004.
        low, high = sorted(round(parse_value(value), 12) for value in (values[0], values[-1]))
        integer = isinstance(low, int) and isinstance(high, int)
        return Number(key, conditions, low, high, abs(sweep.step), integer, "log" in sweep.tags)
    return Choice(key, conditions, tuple(values))
