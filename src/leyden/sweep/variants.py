"""The configs of a sweep: one per choice of a swept config group, composed before anything starts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from omegaconf import DictConfig

from leyden.sweep.axes import Axis, Value
from leyden.sweep.identity import digest, flat_config
from leyden.sweep.space import Point, Space

Compose = Callable[[Sequence[str]], DictConfig]


@dataclass(frozen=True)
class Variant:
    """Properties of the config that one choice of a config group gives.

    Args:
        objective: its metric and mode.
        choices: its group choices: group → choice.
        digest: a digest of its values.
    """

    objective: tuple[str, str]
    choices: Mapping[str, str]
    digest: str


def compose_variants(
    space: Space, base: Sequence[str], choices: Mapping[str, str], compose: Compose
) -> dict[str, Variant]:
    """Compose the config of the first value of each axis, and that of every other choice of each config group.

    Composing all combinations would take too long.

    Raises:
        UserError, hydra.errors.CompactHydraException: a key is unknown, or a group has no such choice.
    """

    def variant(overrides: list[str]) -> Variant:
        config = compose([*base, *overrides])
        made = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items()}
        return Variant((config.objective.metric, config.objective.mode), made, digest(flat_config(config)))

    def point(group: Axis | None, value: Value | None) -> Point:
        return space.walk(lambda axis: value if axis is group else axis.first)

    all_overrides = [space.overrides(point(None, None))]
    for group in (axis for axis in space.axes if axis.key in choices):
        all_overrides += [space.overrides(point(group, value)) for value in group.values()[1:]]
    return {" ".join(overrides): variant(overrides) for overrides in all_overrides}
