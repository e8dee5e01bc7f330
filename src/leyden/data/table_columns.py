"""Find out what the columns of a user's table contain: numbers, categories, classes. Does not import torch."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from leyden.data.table_file import Key, read_raw
from leyden.errors import UserError

MAX_CLASSES = 20  # a column of whole numbers with at most so many different values contains classes


def as_number(text: str) -> float | None:
    """Return a value as a finite number, or None if it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def target_task(path: str, header: bool, target: Key) -> str:
    """Return ``classification`` if the target column contains texts or few whole numbers, otherwise ``regression``.

    Raises:
        UserError: there is no such table or no such column.
    """
    table = read_raw(path, header)
    values = {value for value in table.column(table.position(target, "data.target")) if value}
    numbers = [as_number(value) for value in values]
    if None in numbers:
        return "classification"
    whole = all(number is not None and number.is_integer() for number in numbers)
    return "classification" if whole and len(values) <= MAX_CLASSES else "regression"


def classes_of(path: str, header: bool, target: Key, task: str) -> list[str]:
    """Return the classes of the target column in their order; none if `task` is not classification.

    Raises:
        UserError: there are fewer than two.
    """
    if task != "classification":
        return []
    table = read_raw(path, header)
    position = table.position(target, "data.target")
    values = {value for value in table.column(position) if value}
    if len(values) < 2:
        raise UserError(
            f"data.target: column {table.names[position]} of {table.path} has {len(values)} classes, at least 2 are "
            "needed"
        )
    return sorted(values, key=lambda value: (as_number(value) is None, as_number(value) or 0.0, value))


def features_of(
    path: str,
    header: bool,
    target: Key,
    ignore: Sequence[Key],
    categorical: Sequence[Key],
    max_categories: int,
) -> dict[str, list[str]]:
    """Return feature → its categories, none for numbers, in the order of the columns.

    A column is numeric if all its values are numbers. Columns of texts with more than `max_categories` different
    values, such as names, are left out.

    Args:
        path, header: see `read_raw`.
        target: the column to predict, which is no feature.
        ignore: columns that are no features.
        categorical: columns whose values are categories although they may be numbers, or too many: of these, the
            `max_categories` most frequent ones count.
        max_categories: see above.

    Raises:
        UserError: a column does not exist, or none is left.
    """
    table = read_raw(path, header)
    left_out = {table.position(target, "data.target"), *(table.position(column, "data.ignore") for column in ignore)}
    forced = {table.position(column, "data.categorical") for column in categorical}
    features = {}
    for position, name in enumerate(table.names):
        if position not in left_out:
            found = categories_of(table.column(position), position in forced, max_categories)
            if found is not None:
                features[name] = found
    if not features:
        raise UserError(
            f"data.path: {table.path} has no column that can be a feature: numbers, or at most {max_categories} "
            "different texts (data.max_categories)"
        )
    return features


def categories_of(values: Sequence[str], forced: bool, max_categories: int) -> list[str] | None:
    """Return the categories of a column, none for numbers; None if the column cannot be a feature.

    The arguments are those of `features_of`; `forced` says whether the column is in `categorical`.
    """
    counts = Counter(value for value in values if value)
    if not forced and all(as_number(value) is not None for value in counts):
        return [] if counts else None
    if not forced and len(counts) > max_categories:
        return None
    frequent = sorted(counts, key=lambda value: (-counts[value], value))[:max_categories]
    return sorted(frequent)


def width_of(features: Mapping[str, Sequence[str]], categories: str) -> int:
    """Return the number of inputs: one per feature, or, with ``onehot``, one per number and one per category."""
    return len(features) if categories == "embedded" else sum(max(1, len(found)) for found in features.values())


def category_sizes_of(features: Mapping[str, Sequence[str]], categories: str) -> list[int]:
    """Return the number of categories of each input, 0 for numbers. It is empty unless categories are ``embedded``."""
    return [len(found) for found in features.values()] if categories == "embedded" else []
