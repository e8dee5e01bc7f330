"""Search spaces, written in Hydra's override grammar: `optimizer.lr=tag(log, interval(1e-4, 1e-1))`.

A point is a dictionary: the name of each axis that applies → its value, in the order of the axes. Imports no Optuna.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException, OverrideParseException

from leyden.errors import UserError

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = str | int | float
Point = dict[str, Value]
Condition = tuple[str, str]  # a key and the value it must have


@dataclass(frozen=True)
class Axis:
    """What is searched under one key.

    Args:
        key: as Hydra writes it, with a ``+`` where one is needed.
        conditions: all must hold, else the key is left alone.
    """

    key: str
    conditions: tuple[Condition, ...]

    @property
    def name(self) -> str:
        """Of Optuna's parameter: a key may be searched in another range under another condition."""
        under = ", ".join(f"{key}={value}" for key, value in self.conditions)
        return f"{self.key} ({under})" if under else self.key

    def applies(self, chosen: Mapping[str, str]) -> bool:
        """Whether the conditions hold, given the texts of the keys that are set so far."""
        return all(key in chosen and same(chosen[key], value) for key, value in self.conditions)

    @property
    def first(self) -> Value:
        """One of its values."""
        raise NotImplementedError

    def values(self) -> Sequence[Value]:
        """All of them. Raises UserError if they cannot be counted."""
        raise NotImplementedError

    def suggest(self, trial: "Trial") -> Value:
        """Ask the sampler."""
        raise NotImplementedError

    def match(self, value: Any) -> Value | None:
        """The axis' own form of a config's `value`, None if it is not on the axis."""
        raise NotImplementedError


@dataclass(frozen=True)
class Choice(Axis):
    """One of several texts, each as it would stand on the command line."""

    choices: tuple[str, ...]

    @property
    def first(self) -> Value:
        return self.choices[0]

    def values(self) -> Sequence[Value]:
        return self.choices

    def suggest(self, trial: "Trial") -> Value:
        return trial.suggest_categorical(self.name, self.choices)

    def match(self, value: Any) -> Value | None:
        return next((choice for choice in self.choices if parse_value(choice) == value), None)


@dataclass(frozen=True)
class Number(Axis):
    """A whole or a real number from `low` to `high`, both included.

    Args:
        step: 0 for every real number between them.
        log: as likely in each decade.
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
            raise UserError(f"sweep.n_trials: must be given, since {self.key} is an interval")
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        kind = int if self.integer else float
        return [kind(round(self.low + index * self.step, 12)) for index in range(count)]

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
    """Axes in the order they are chosen, and the keys that are fixed, as text."""

    axes: tuple[Axis, ...]
    fixed: Mapping[str, str]

    def walk(self, value_of: Callable[[Axis], Value | None]) -> Point:
        """The point that `value_of` makes of each axis that applies; without those it gives None for."""
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
        """Every combination, the last axis fastest."""
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
        """``key=value`` of each value of `point`."""
        return [f"{axis.key}={point[axis.name]}" for axis in self.axes if axis.name in point]

    def place(self, values: Mapping[str, Any]) -> Point:
        """The point of ``key: value`` pairs, such as those of ``sweep.enqueue``; it may leave axes open.

        Raises:
            UserError: a value or key is not in the space.
        """
        keys = {axis.key for axis in self.axes}
        for key in values:
            if key not in keys:
                raise UserError(f"sweep.enqueue: {key} is not searched; searched are {', '.join(sorted(keys))}")

        def value_of(axis: Axis) -> Value | None:
            if axis.key not in values:
                return None
            value = axis.match(values[axis.key])
            if value is None:
                raise UserError(f"sweep.enqueue: {axis.key}={values[axis.key]} is outside of what is searched")
            return value

        return self.walk(value_of)


def read_axes(space: Mapping[str, Any], loader: ConfigLoader, conditions: tuple[Condition, ...] = ()) -> list[Axis]:
    """The axes of a ``sweep.space``: ``key: sweep`` pairs, and ``key=value: {…}`` of those that apply under it.

    Raises:
        UserError: one cannot be read.
    """
    axes = []
    for key, value in space.items():
        if isinstance(value, Mapping):
            parent, equals, choice = key.partition("=")
            if not equals:
                raise UserError(f"sweep.space: {key} holds a mapping, so it must read KEY=VALUE")
            axes += read_axes(value, loader, (*conditions, (parent, choice)))
        else:
            (override,) = parse([f"{key}={value}"], loader)
            if not override.is_sweep_override():
                raise UserError(f"sweep.space: {key}={value} is one value; one for all trials goes to sweep.overrides")
            axes.append(read_axis(override, conditions))
    return axes


def read_axis(override: Override, conditions: tuple[Condition, ...] = ()) -> Axis:
    """The axis of an override that sweeps: choice, range or interval."""
    key, sweep = override.get_key_element(), override.value()
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None
        assert sweep.end is not None
        if sweep.start >= sweep.end:
            raise UserError(f"{key}: the interval from {sweep.start} to {sweep.end} is empty")
        integer, log = isinstance(sweep.start, int), "log" in sweep.tags
        if log and sweep.start <= 0:
            raise UserError(f"{key}: an interval on a log scale must start above 0, got {sweep.start}")
        return Number(key, conditions, sweep.start, sweep.end, 1 if integer else 0, integer, log)
    values = [text for text in override.sweep_string_iterator() if not text.startswith("_")]
    if not values:
        raise UserError(f"{key}: there is no value in {override.input_line}")
    if isinstance(sweep, RangeSweep) and len(values) > 1 and not sweep.shuffle:
        low, high = sorted((parse_value(values[0]), parse_value(values[-1])))
        integer = isinstance(low, int) and isinstance(high, int)
        return Number(key, conditions, low, high, abs(sweep.step), integer, "log" in sweep.tags)
    return Choice(key, conditions, tuple(values))


def parse(overrides: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Hydra's reading of each. Raises UserError if one cannot be read."""
    try:
        return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    except (OverrideParseException, HydraException) as error:
        raise UserError(f"sweep: cannot read {' '.join(str(error).split())}") from error


def parse_value(text: str) -> Any:
    """The value that `text` has on the command line."""
    return OverridesParser.create().parse_overrides([f"key={text}"])[0].value()


def same(one: str, other: str) -> bool:
    """Whether two texts are the same value."""
    return one == other or bool(parse_value(one) == parse_value(other))
