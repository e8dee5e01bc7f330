"""The axes of a search space: the values that are searched for one key, in Hydra's override grammar.

This file does not import Optuna.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException

from leyden.errors import UserError

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = str | int | float
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
        """Name of Optuna's parameter: the key and its conditions. Other conditions may have another range."""
        under = ", ".join(f"{key}={value}" for key, value in self.conditions)
        return f"{self.key} ({under})" if under else self.key

    def applies(self, chosen: Mapping[str, str]) -> bool:
        """Return whether all conditions hold, given the values of the keys before this one, as text."""
        return all(key in chosen and same(chosen[key], value) for key, value in self.conditions)

    def __str__(self) -> str:
        return f"{self.name}={self.text}"

    @property
    def text(self) -> str:
        """The values as text for messages."""
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
        """Convert a value from a config to the form of this axis. Return None if the axis does not contain it."""
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
