"""Nets with the values of `conf/model`, since the code itself has no defaults for them."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from torch import nn

from leyden.config.builders import section
from leyden.config.compose import compose
from leyden.config.instantiate import locate

FROM_DATA = {"in_shape", "num_outputs", "_target_"}  # keys that do not come from the file in conf/model


def net(model: str, in_shape: Sequence[int], num_outputs: int | None = None, **arguments: Any) -> Any:
    """Build the net of ``conf/model/<model>.yaml`` for samples of `in_shape`, with other `arguments` than there.

    Args:
        model: name of the file.
        in_shape: shape of a sample.
        num_outputs: number of outputs; None if the net has none.
    """
    target, values = settings(model)
    outputs = {} if num_outputs is None else {"num_outputs": num_outputs}
    built: nn.Module = locate(target, "model")(in_shape=in_shape, **{**values, **outputs, **arguments})
    return built


@cache
def settings(model: str) -> tuple[str, dict[str, Any]]:
    """Return the path of the class and the arguments of a model."""
    spec = section(compose(f"model={model}"), "model")
    return spec["_target_"], {key: value for key, value in spec.items() if key not in FROM_DATA}
