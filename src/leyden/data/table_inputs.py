"""From the texts of a table to the inputs and targets of a net, and the statistics that standardise the inputs."""

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from leyden.data.datamodule import printable
from leyden.data.scaling import Scaling
from leyden.data.table_columns import as_number
from leyden.data.table_file import MISSING
from leyden.errors import UserError

Schema = Mapping[str, Sequence[str]]  # feature → its categories, none for numbers
Statistics = Mapping[str, Sequence[float]]


def encoded(values: Sequence[str], found: Sequence[str], categories: str, where: Callable[[int], str]) -> Tensor:
    """Return the values of a column as inputs, float32.

    Args:
        values: the N texts; an empty one is missing.
        found: the categories of the column; empty for numbers.
        categories: what a category becomes, see `leyden.data.table.Table`.
        where: describes the place of a row, for an error.

    Returns:
        (N, 1): numbers, NaN where one is missing; with ``embedded``, codes of categories. With ``onehot``, 0 or 1 for
        each category, (N, number of categories).

    Raises:
        UserError: a value is not a number.
    """
    if not found:
        return torch.tensor([_number(value, row, where) for row, value in enumerate(values)])[:, None]
    positions = {name: number for number, name in enumerate(found, 1)}
    codes = torch.tensor([positions.get(value, 0) for value in values])
    if categories == "embedded":
        return codes.float()[:, None]
    return torch.nn.functional.one_hot(codes, len(found) + 1)[:, 1:].float()


def _number(value: str, row: int, where: Callable[[int], str]) -> float:
    number = as_number(value) if value else float("nan")
    if number is None:
        raise UserError(f"{where(row)} is {printable(value)[:100]!r}, must be a number")
    return number


def spelling(value: Any, known: Sequence[str]) -> str:
    """Return a value of a row as text, as it would be in the file; empty if it is missing.

    Args:
        value: a text, a number, a boolean, None, or NaN.
        known: the categories or classes of the column. A whole number is written as they are: 1 or 1.0.
    """
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, Real) and not isinstance(value, bool) and value == value // 1:
        whole = str(math.floor(value))
        return f"{whole}.0" if f"{whole}.0" in known else whole
    text = str(value).strip()
    return "" if text.lower() in MISSING else text


def label_of(value: str, labels: Mapping[str, int], where: str) -> int:
    """Return the label of a class; `where` describes its place, for an error.

    Raises:
        UserError: it is not one of the classes.
    """
    if value not in labels:
        raise UserError(
            f"data.target: {printable(value)[:100]!r} in {where} is not one of the classes, which are "
            f"{', '.join(map(printable, labels))}"
        )
    return labels[value]


def target_of(value: str, where: str) -> float:
    """Return a number to predict.

    Raises:
        UserError: it is not a number.
    """
    number = as_number(value)
    if number is None:
        raise UserError(
            f"data.target: {printable(value)[:100]!r} in {where} is not a number. To predict classes, use "
            "task=classification"
        )
    return number


def measure(inputs: Tensor, schema: Schema, categories: str, clip: float) -> Statistics:
    """Return fill, low, high, mean and std of each input, (N, F), of the training split.

    One-hot inputs are not clipped: rare categories would disappear. Codes of categories stay as they are.
    """
    shape = inputs.shape[1:]
    numbers, others = Scaling(shape, 1), Scaling(shape, 1)
    filled = torch.where(inputs.isnan().all(0), 0.0, inputs)  # a feature without a value in the training split
    numbers.fit_inputs(filled, clip)
    if categories == "onehot":
        others.fit_inputs(filled)
    widths = [1 if categories == "embedded" else max(1, len(found)) for found in schema.values()]
    numeric = torch.tensor([not found for found in schema.values()]).repeat_interleave(torch.tensor(widths))
    return {
        name: torch.where(numeric, getattr(numbers, name), getattr(others, name)).tolist()
        for name in ("fill", "low", "high", "mean", "std")
    }


def standardiser(statistics: Statistics, num_inputs: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the function that fills, clips and standardises inputs (B, F) with the statistics of `measure`."""
    scaling = Scaling([num_inputs], 1)
    for name, values in statistics.items():
        getattr(scaling, name).copy_(torch.tensor(values))
    return scaling.to(device).inputs
