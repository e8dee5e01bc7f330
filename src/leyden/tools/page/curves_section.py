"""The learning curves of a run."""

from collections.abc import Mapping
from typing import Any

from leyden.tools.page.charts import Line, line_chart
from leyden.tools.page.elements import Child, Html, details, el, section, table
from leyden.tools.page.files import Curve, get

MAX_CHARTS = 12
MAX_TABLE = 50  # rows of the table of a chart


def curves_section(curves: Mapping[str, Curve], report: Mapping[str, Any] | None, objective: str) -> Html:
    """Return a chart for each metric, training and validation in one, with the numbers as a table."""
    shared = dict.fromkeys(name.partition("/")[2] for name in curves if name.startswith(("train/", "val/")))
    first = ("loss", objective.partition("/")[2])
    ordered = list(dict.fromkeys([*(name for name in first if name in shared), *shared]))
    best = get(report, "objective", "epoch", kind=int)
    charts = [chart(name, curves, best) for name in ordered[:MAX_CHARTS]]
    if "lr" in curves and len({value for _, _, value in curves["lr"].all()}) > 1:
        charts.append(chart("lr", curves, None))
    kept = [one for one in charts if one]
    note = "The vertical line is the best epoch." if best is not None and best >= 0 else None
    bad = sorted(name for name, curve in curves.items() if curve.left_out)
    warning = el("p", f"Values that are not finite are left out: {', '.join(bad)}.") if bad else None
    if not kept:
        return Html("")
    return section(
        "Learning curves", el("p", note) if note else None, warning, el("div", *kept, class_="charts"), id_="curves"
    )


def chart(name: str, curves: Mapping[str, Curve], best: int | None) -> Html | None:
    """Return the chart of a metric: over the epochs or, if an epoch has several values, over the steps."""
    keys = {"learning rate": "lr"} if name == "lr" else {"train": f"train/{name}", "validation": f"val/{name}"}
    found = {label: curves[key].all() for label, key in keys.items() if key in curves and curves[key].points}
    if not found:
        return None
    by_epoch = all(len({point[0] for point in points}) == len(points) for points in found.values())
    styles = {"train": "train", "validation": "val", "learning rate": "lr"}
    lines = [
        Line(label, [(float(point[0] if by_epoch else point[1]), point[2]) for point in points], styles[label])
        for label, points in found.items()
    ]
    x_label = "epoch" if by_epoch else "step"
    title = "learning rate" if name == "lr" else name
    mark = best + 1.0 if by_epoch and best is not None and best >= 0 else None
    drawn = line_chart(title, lines, x_label, mark=mark, log=False if name == "lr" else None)
    return el("div", drawn, numbers(title, lines, x_label), class_="chart")


def numbers(title: str, lines: list[Line], x_label: str) -> Html:
    """Return the values of a chart as a table, at most `MAX_TABLE` rows, evenly spaced."""
    values = [dict(line.points) for line in lines]
    every = sorted({x for one in values for x in one})
    step = -(-len(every) // MAX_TABLE)
    rows: list[list[Child]] = [[f"{x:g}", *(one.get(x) for one in values)] for x in every[::step]]
    part = f" (one of {step} values)" if step > 1 else ""
    return details("Numbers", table(f"{title} per {x_label}{part}", [x_label, *(one.name for one in lines)], rows))
