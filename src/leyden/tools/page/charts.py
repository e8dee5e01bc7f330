"""Charts as inline SVG. The colours are classes of page.css, so that they follow light and dark mode."""

from collections.abc import Sequence
from dataclasses import dataclass

from leyden.tools.page.elements import Html, clean, el, join, number
from leyden.tools.page.scales import Scale, categories, numeric

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 38
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Args:
        name: what the legend says.
        points: (x, y), at least one.
        style: class of page.css, such as ``train``.
    """

    name: str
    points: Sequence[Point]
    style: str


def line_chart(
    title: str, lines: Sequence[Line], x_label: str, *, mark: float | None = None, log: bool | None = None
) -> Html:
    """Return a figure with `lines` over `x_label`, and a vertical line at `mark`. `log`: see `scales.numeric`."""
    xs, ys = ([point[index] for line in lines for point in line.points] for index in (0, 1))
    x_scale, y_scale = numeric(xs, log=False, whole=True), numeric(ys, log=log, padding=0.04)
    drawn: list[Html] = [frame(x_scale, y_scale, x_label)]
    if mark is not None and min(xs) <= mark <= max(xs):
        at = across(x_scale, mark)
        drawn.append(el("line", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM, class_="mark"))
    for line in lines:
        points = [(across(x_scale, x), down(y_scale, y)) for x, y in line.points]
        if len(points) < 60:
            drawn += [el("circle", cx=x, cy=y, r=2.6, class_=f"dot {line.style}") for x, y in points]
        drawn.append(el("polyline", points=Html(" ".join(f"{x},{y}" for x, y in points)), class_=f"line {line.style}"))
    return figure(title, drawn, described(title, lines, x_label), legend(lines))


def scatter(title: str, x_label: str, y_label: str, points: Sequence[tuple[float | str, float]]) -> Html:
    """Return a figure with a dot per (x, y). A text x is a category. The caption is `title`."""
    y_scale = numeric([y for _, y in points], padding=0.06)
    if all(isinstance(x, int | float) for x, _ in points):
        x_scale = numeric([float(x) for x, _ in points], padding=0.04)
        places = [(across(x_scale, float(x)), y) for x, y in points]
    else:
        names = list(dict.fromkeys(str(x) for x, _ in points))
        x_scale = categories([clean(name)[:16] for name in names])
        inner = Scale(lambda value: 0.1 + 0.8 * x_scale.position(value), ())
        places = [(across(inner, names.index(str(x))), y) for x, y in points]
        x_scale = Scale(inner.position, tuple((0.1 + 0.8 * at, name) for at, name in x_scale.ticks))
    dots = [el("circle", cx=x, cy=down(y_scale, y), r=4, class_="dot point") for x, y in places]
    values = [y for _, y in points]
    text = f"{title}. {len(points)} points; {y_label} from {number(min(values))} to {number(max(values))}."
    return figure(title, [frame(x_scale, y_scale, x_label), *dots], text)


def frame(x_scale: Scale, y_scale: Scale, x_label: str) -> Html:
    """Return the grid, the ticks and the label of the x axis."""
    bottom = HEIGHT - BOTTOM
    drawn = []
    for at, label in y_scale.ticks:
        y = round(TOP + (1 - at) * (bottom - TOP), 1)
        drawn.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        drawn.append(el("text", label, x=LEFT - 8, y=y + 4, text_anchor="end"))
    for at, label in x_scale.ticks:
        x = round(LEFT + at * (WIDTH - LEFT - RIGHT), 1)
        drawn.append(el("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="tick"))
        drawn.append(el("text", label, x=x, y=bottom + 17, text_anchor="middle"))
    drawn.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="tick"))
    drawn.append(el("text", x_label, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 4, text_anchor="middle", class_="label"))
    return join(drawn)


def across(scale: Scale, value: float) -> float:
    """Return the x coordinate of a value."""
    return round(LEFT + scale.position(value) * (WIDTH - LEFT - RIGHT), 1)


def down(scale: Scale, value: float) -> float:
    """Return the y coordinate of a value."""
    return round(TOP + (1 - scale.position(value)) * (HEIGHT - TOP - BOTTOM), 1)


def figure(title: str, drawn: Sequence[Html], description: str, *below: Html, size: Point = (WIDTH, HEIGHT)) -> Html:
    """Return a figure with a caption and an SVG that a screen reader reads as one image with a description."""
    svg = el("svg", *drawn, viewBox=f"0 0 {size[0]:g} {size[1]:g}", role="img", aria_label=description)
    return el("figure", el("figcaption", title), svg, *below)


def legend(lines: Sequence[Line]) -> Html:
    """Return the legend of a chart with several lines."""
    if len(lines) < 2:
        return Html("")
    entries = [
        el("li", el("svg", el("line", x1=0, x2=26, y1=6, y2=6, class_=f"line {line.style}"), viewBox="0 0 26 12",
                    aria_hidden="true"), line.name)
        for line in lines
    ]  # fmt: skip
    return el("ul", *entries, class_="legend")


def described(title: str, lines: Sequence[Line], x_label: str) -> str:
    """Return the chart in words: first and last value, minimum and maximum of each line."""
    parts = []
    for line in lines:
        (first_x, first), (last_x, last) = line.points[0], line.points[-1]
        low, high = (pick(line.points, key=lambda point: point[1]) for pick in (min, max))
        parts.append(
            f"{line.name}: {number(first)} at {x_label} {first_x:g}, {number(last)} at {x_label} {last_x:g}, "
            f"smallest {number(low[1])} at {low[0]:g}, largest {number(high[1])} at {high[0]:g}"
        )
    return f"Line chart of {title}. {'. '.join(parts)}."
