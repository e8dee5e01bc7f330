"""The table of a comparison as text: markdown, CSV or LaTeX."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

NONE = "–"  # a value that a run does not have
LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "\\": "\\textbackslash{}",
    "–": "--",
}


def as_markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a markdown table, for example with a cell ``0.9812 ± 0.0004``."""

    def cell(name: str, content: Any) -> str:
        if isinstance(content, tuple):
            average, deviation = content
            return NONE if average is None else f"{average:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")
        return NONE if content is None else cell_text(name, content).replace("|", "\\|")

    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += [f"| {' | '.join(map(cell, header, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def as_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return the table as CSV, with one column for each mean and one for each standard deviation."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [
        [name, f"{name} std"] if isinstance(content, tuple) else [name]
        for name, content in zip(header, rows[0], strict=True)
    ]
    writer.writerow([name for names in columns for name in names])
    for row in rows:
        writer.writerow([part for content in row for part in (content if isinstance(content, tuple) else (content,))])
    return text.getvalue()


def as_latex(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return the table as LaTeX with the rules of the package booktabs. Keys are aligned left, numbers right."""
    listed = list(rows)

    def cell(name: str, content: Any) -> str:
        if isinstance(content, tuple):
            average, deviation = content
            if average is None:
                return "--"
            return f"${average:.4f}" + ("$" if deviation is None else f" \\pm {deviation:.4f}$")
        return "--" if content is None else escaped(cell_text(name, content))

    alignment = "".join("l" if isinstance(content, str) else "r" for content in listed[0])
    names = " & ".join(escaped(name) for name in header)
    lines = [" & ".join(map(cell, header, row)) for row in listed]
    body = "".join(f"{line} \\\\\n" for line in lines)
    return (
        "% needs \\usepackage{booktabs}\n"
        f"\\begin{{tabular}}{{{alignment}}}\n\\toprule\n{names} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
    )


def escaped(text: str) -> str:
    """Return `text` with LaTeX's special characters escaped, so that it is shown as it is."""
    return "".join(LATEX.get(character, character) for character in text)


def cell_text(name: str, content: Any) -> str:
    """Return the text of a cell in the column `name`."""
    if isinstance(content, int) and name == "parameters":
        return f"{content:,}"
    if isinstance(content, float):
        return f"{content:.1f}" if name in ("seconds", "epochs") else f"{content:.3f}"
    return short(str(content))


def short(text: str) -> str:
    """Return `text`. A number is shortened to four significant digits, which are enough for a table."""
    return f"{float(text):.4g}" if re.fullmatch(r"-?\d+(\.\d+(e-?\d+)?|e-?\d+)", text) else text
