"""Search spaces in Hydra's override grammar, such as `optimizer.lr=tag(log, interval(1e-4, 1e-1))`.

A space is a list of axes, one per key. A point is a dictionary: the name of each axis that applies → its value, in the
order of the axes. This file does not import Optuna.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException, OverrideParseException

from leyden.errors import UserError

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = str | int | float
Point = dict[str, Value]
Condition = tuple[str, str]  # a key and the value it must have


@dataclass(frozen=True)
class Axis:
    """The values that are searched for one key.

    Args:
        key: the key as on the command line, with a leading ``+`` if it adds the key to the config.
        conditions: the key is searched only where all of them hold; elsewhere it keeps its default.
    """

    key: str
    conditions: tuple[Condition, ...]

    @property
    def name(self) -> str:
        """Name of Optuna's parameter: the key and its conditions, each of which may have another range."""
        under = ", ".join(f"{key}={value}" for key, value in self.conditions)
        return f"{self.key} ({under})" if under else self.key

    def applies(self, chosen: Mapping[str, str]) -> bool:
        """Return whether all conditions hold, given the values of the keys before this one, as text."""
        return all(key in chosen and same(chosen[key], value) for key, value in self.conditions)

    def __str__(self) -> str:
        return f"{self.name}={self.text}"

    @property
    def text(self) -> str:
        """The values in a form for readers."""
        raise NotImplementedError

    @property
    def first(self) -> Value:
        """The first or smallest value."""
        raise NotImplementedError

    def values(self) -> Sequence[Value]:
        """Return all values. Raises UserError if there are infinitely many."""
        raise NotImplementedError

    def suggest(self, trial: "Trial") -> Value:
        """Return the value that the sampler chooses."""
        raise NotImplementedError

    def match(self, value: Any) -> Value | None:
        """Return the axis' own form of a value from a config, or None if the axis does not contain it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Choice(Axis):
    """A list of values, each as its text on the command line."""

    choices: tuple[str, ...]

    @property
    def first(self) -> Value:
        return self.choices[0]

    def values(self) -> Sequence[Value]:
        return self.choices

    @property
    def text(self) -> str:
        return ",".join(self.choices) if len(self.choices) > 1 else f"choice({self.choices[0]})"

    def suggest(self, trial: "Trial") -> Value:
        return trial.suggest_categorical(self.name, self.choices)

    def match(self, value: Any) -> Value | None:
        return next((choice for choice in self.choices if parse_value(choice) == value), None)


@dataclass(frozen=True)
class Number(Axis):
    """Integers or real numbers from `low` to `high`, both included.

    Args:
        low: smallest value.
        high: largest value.
        step: distance of neighbouring values; 0 for all real numbers.
        integer: whether the values are integers.
        log: whether they are sampled on a logarithmic scale.
    """

    low: float
    high: float
    step: float
    integer: bool
    log: bool

    @property
    def first(self) -> Value:
        return int(self.low) if self.integer else float(self.low)

    def values(self) -> Sequence[Value]:
        if not self.step or self.log:
            raise UserError(f"sweep.n_trials: must be given, because {self.key} is an interval")
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        kind = int if self.integer else float
        return [kind(round(self.low + index * self.step, 12)) for index in range(count)]

    @property
    def text(self) -> str:
        kind = "range" if self.step else "interval"
        step = f", step {self.step}" if self.step not in (0, 1) else ""
        return f"{kind}({self.low} to {self.high}{step}{', log' if self.log else ''})"

    def suggest(self, trial: "Trial") -> Value:
        if self.integer:
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=int(self.step), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step or None, log=self.log)

    def match(self, value: Any) -> Value | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return None
        steps = (value - self.low) / self.step if self.step else 0
        return value if abs(steps - round(steps)) < 1e-9 else None


@dataclass(frozen=True)
class Space:
    """A search space.

    Args:
        axes: in the order in which their values are chosen.
        fixed: keys with one value, as text; conditions may refer to them.
    """

    axes: tuple[Axis, ...]
    fixed: Mapping[str, str]

    def walk(self, value_of: Callable[[Axis], Value | None]) -> Point:
        """Return a point: the value from `value_of` for each axis that applies, except where it returns None."""
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
        conditions: apply to all of these axes.

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
                raise UserError(f"sweep.space: {key}={value} is one value; write it into sweep.overrides instead")
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


def parse(overrides: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Parse overrides with Hydra's grammar. Raises UserError if one cannot be parsed."""
    try:
        return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    except (OverrideParseException, HydraException) as error:
        raise UserError(f"sweep: cannot read an override: {' '.join(str(error).split())}") from error


def parse_value(text: str) -> Any:
    """Return the value that `text` has on the command line."""
    return OverridesParser.create().parse_overrides([f"key={text}"])[0].value()


def same(one: str, other: str) -> bool:
    """Return whether two texts have the same value on the command line."""
    return one == other or bool(parse_value(one) == parse_value(other))
