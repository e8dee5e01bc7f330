"""HTML elements. All text is escaped, except what these functions have made.

A run folder may come from somebody else, so its names and texts must not become markup.
"""

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

MAX_TEXT = 10_000  # characters of one text
VOID = ("br", "img", "meta", "line", "circle", "rect", "path", "polyline", "hr")


class Html(str):
    """Markup that is complete and safe. Any other text is escaped."""


Child = Html | str | int | float | None


def el(name: str, *children: Child, **attributes: Any) -> Html:
    """Return an element, for example ``el("td", "a < b", class_="name")``.

    Args:
        name: name of the element.
        children: its content. None is left out; text is escaped.
        attributes: an underscore at the end is removed, and others become hyphens. None and False are left out.
            `Html` is written as it is.
    """
    pairs = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()]
    given = [(key, value) for key, value in pairs if value is not None and value is not False]
    shown = "".join(f" {key}" if value is True else f' {key}="{quoted(value)}"' for key, value in given)
    if name in VOID:
        return Html(f"<{name}{shown}>" if name in ("br", "img", "meta", "hr") else f"<{name}{shown} />")
    return Html(f"<{name}{shown}>{join(children)}</{name}>")


def quoted(value: Any) -> str:
    """Return the value of an attribute as markup."""
    return value if isinstance(value, Html) else html.escape(clean(str(value)), quote=True)


def join(children: Iterable[Child], separator: str = "") -> Html:
    """Return `children` one after the other. Text is escaped."""
    return Html(separator.join(escape(child) for child in children if child is not None))


def escape(child: Child) -> str:
    """Return a child as markup."""
    return str(child) if isinstance(child, Html) else html.escape(clean(str(child)), quote=False)


def clean(text: str) -> str:
    """Return `text` with ``?`` for control characters and surrogates, cut after `MAX_TEXT` characters."""
    cut = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in cut)


def section(title: str, *children: Child, id_: str) -> Html:
    """Return a section with a heading of level 2; empty if there is no child."""
    content = [child for child in children if child]
    if not content:
        return Html("")
    return el("section", el("h2", title, id=id_), *content, aria_labelledby=id_)


def table(caption: str, header: Sequence[Child], rows: Iterable[Sequence[Child]], *, sortable: bool = False) -> Html:
    """Return a table with a caption. The first cell of each row is its heading.

    Args:
        caption: what the table shows.
        header: headings of the columns.
        rows: cells. A column with a number is aligned right, and its numbers are sorted as numbers.
        sortable: whether the script makes buttons of the headings.
    """
    listed = list(rows)
    columns = [any(is_number(row[index]) for row in listed) for index in range(len(header))]
    styles = ["number" if numeric else None for numeric in columns]
    head = el("tr", *(el("th", name, scope="col", class_=style) for name, style in zip(header, styles, strict=True)))
    body = []
    for row in listed:
        cells = [cell(content, "td", class_=style) for content, style in zip(row[1:], styles[1:], strict=True)]
        body.append(el("tr", cell(row[0], "th", scope="row", class_=styles[0]), *cells))
    content = el("table", el("caption", caption), el("thead", head), el("tbody", *body), data_sortable=sortable)
    return scrollable(content, caption)


def is_number(content: Child) -> bool:
    """Return whether a cell contains a number."""
    return isinstance(content, int | float) and not isinstance(content, bool)


def cell(content: Child, name: str, **attributes: Any) -> Html:
    """Return a cell of a table."""
    if isinstance(content, int | float):
        return el(name, number(content), data_value=repr(content), **attributes)
    return el(name, "–" if content is None else content, **attributes)


def scrollable(content: Html, label: str) -> Html:
    """Return a region that scrolls sideways on a narrow screen, also with the keyboard."""
    return el("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def definitions(pairs: Iterable[tuple[str, Child]]) -> Html:
    """Return a list of names and values. Pairs without a value are left out; empty if no pair is left."""
    kept = [el("div", el("dt", name), el("dd", value)) for name, value in pairs if value not in (None, "")]
    return el("dl", *kept) if kept else Html("")


def commands(lines: Iterable[str]) -> Html:
    """Return a block of shell commands or code."""
    return el("pre", el("code", "\n".join(lines)), tabindex="0")


def details(summary: str, *content: Child) -> Html:
    """Return content that is shown on a click."""
    return el("details", el("summary", summary), *content)


def number(value: float) -> str:
    """Return ``1,234`` for a whole number, and ``0.9889`` or ``1.2e-05`` for others: four digits are enough to read."""
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0"
    if 0.001 <= abs(value) < 100:
        return f"{value:.4f}"
    return f"{value:,.1f}" if 100 <= abs(value) < 1e9 else f"{value:.3g}"
