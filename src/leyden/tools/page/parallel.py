"""Parallel coordinates: an axis per parameter and objective, a line per trial. And horizontal bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leyden.tools.page.charts import figure
from leyden.tools.page.elements import Html, clean, el, number
from leyden.tools.page.scales import Scale, categories, numeric

MAX_LINES = 400
MAX_AXES = 12
TOP, HEIGHT, SIDE = 40, 300, 80
WIDTH, MIN_GAP = 1060, 110  # of the figure, and between two axes
SHADES = 5  # classes shade-0 (worst) to shade-4 (best) of page.css


@dataclass(frozen=True)
class Trial:
    """A finished trial: its parameters and its objective."""

    parameters: Mapping[str, float | str]
    value: float


def parallel_coordinates(title: str, trials: Sequence[Trial], names: Sequence[str], objective: str, mode: str) -> Html:
    """Return a figure in which the colour of a line is the rank of its trial, and the best one is thick.

    Args:
        title: caption.
        trials: at least one; of more than `MAX_LINES`, the best are shown.
        names: the parameters, at most `MAX_AXES` of which are shown.
        objective: name of the objective, the last axis.
        mode: ``min`` or ``max``.
    """
    ordered = sorted(trials, key=lambda trial: trial.value, reverse=mode == "max")[:MAX_LINES]
    shown = list(names)[:MAX_AXES]
    columns = [[trial.parameters.get(name, "–") for trial in ordered] for name in shown]
    columns.append([trial.value for trial in ordered])
    positions, drawn = [], []
    gap = max(MIN_GAP, (WIDTH - 2 * SIDE) / len(shown))
    for index, (name, column) in enumerate(zip([*shown, objective], columns, strict=True)):
        scale, places = axis_scale(column)
        positions.append(places)
        drawn.append(axis(round(SIDE + index * gap, 1), name, scale))
    lines = []
    for rank in reversed(range(len(ordered))):
        at = [(SIDE + index * gap, height(places[rank])) for index, places in enumerate(positions)]
        points = Html(" ".join(f"{x:.1f},{y}" for x, y in at))
        shade = SHADES - 1 - rank * SHADES // len(ordered)
        lines.append(el("polyline", points=points, class_=f"trial shade-{shade}{'' if rank else ' best'}"))
    best = ", ".join(f"{name} {text(ordered[0].parameters.get(name, '–'))}" for name in shown)
    description = (
        f"Parallel coordinates of {len(ordered)} trials. Axes: {', '.join(shown)} and {objective}. "
        f"The best trial has {objective} {number(ordered[0].value)} with {best}."
    )
    size = (2 * SIDE + (len(columns) - 1) * gap, TOP + HEIGHT + 20)
    return figure(title, [*lines, *drawn], description, size=size)


def axis_scale(column: Sequence[float | str]) -> tuple[Scale, list[float]]:
    """Return the scale of a column and the position of each value on it."""
    if all(isinstance(value, int | float) for value in column):
        scale = numeric([float(value) for value in column])
        return scale, [scale.position(float(value)) for value in column]
    names = sorted({text(value) for value in column})
    scale = categories(names)
    return scale, [scale.position(names.index(text(value))) for value in column]


def axis(x: float, name: str, scale: Scale) -> Html:
    """Return a vertical axis with its name and ticks."""
    parts = [el("line", x1=x, x2=x, y1=TOP, y2=TOP + HEIGHT, class_="axis")]
    parts.append(el("text", cut(name, 20), x=x, y=TOP - 18, text_anchor="middle", class_="label"))
    for at, label in scale.ticks[:12]:
        parts.append(el("line", x1=x - 4, x2=x, y1=height(at), y2=height(at), class_="axis"))
        parts.append(el("text", cut(label, 14), x=x - 7, y=height(at) + 4, text_anchor="end", class_="halo"))
    return el("g", *parts)


def height(position: float) -> float:
    """Return the y coordinate of a position from 0 to 1."""
    return round(TOP + (1 - position) * HEIGHT, 1)


def text(value: float | str) -> str:
    """Return a value as text."""
    return value if isinstance(value, str) else number(value)


def cut(name: str, length: int) -> str:
    """Return the end of `name`, at most `length` characters."""
    cleaned = clean(name)
    return cleaned if len(cleaned) <= length else f"…{cleaned[1 - length :]}"


def bars(caption: str, values: Mapping[str, float]) -> Html:
    """Return a table with a bar per value from 0 to 1."""
    rows = []
    for name, value in values.items():
        length = f"{100 * min(max(value, 0.0), 1.0):.1f}"
        bar = el("svg", el("rect", width=length, height=10, class_="bar"), viewBox="0 0 100 10",
                 preserveAspectRatio="none", aria_hidden="true", class_="bar")  # fmt: skip
        rows.append(el("tr", el("th", name, scope="row"), el("td", bar), el("td", f"{value:.2f}", class_="number")))
    head = el("tr", *(el("th", name, scope="col") for name in ("parameter", "share", "importance")))
    return el("table", el("caption", caption), el("thead", head), el("tbody", *rows), class_="bars")
