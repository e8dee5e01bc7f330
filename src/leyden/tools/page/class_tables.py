"""The metrics of a run, and what its confusion matrix says about each class."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from leyden.tools.page.elements import Child, Html, cell, el, is_number, join, number, scrollable, section, table
from leyden.tools.page.files import get

MAX_MATRIX = 40  # classes; a larger matrix cannot be read
MAX_CLASSES = 1_000
MAX_CONFUSIONS = 10
LABEL_SCORES = {  # entry of a report → heading
    "support": "n", "precision": "precision", "recall": "recall", "f1": "F1", "auroc": "AUROC",
    "average_precision": "average precision", "threshold": "threshold",
}  # fmt: skip
FRACTIONS = ("acc", "exact")  # metrics that are the fraction of the samples that are right
SPLITS = {"val": "validation", "test": "test"}
Z = 1.959964  # of a 95% interval


def metrics_table(report: Mapping[str, Any], sizes: Mapping[str, int]) -> Html:
    """Return a row per metric and a column per split, the loss and the objective first.

    Args:
        report: a checked report.
        sizes: split → number of samples that its metrics are computed on, where it is known.
    """
    metrics: Mapping[str, float | None] = report["metrics"]
    splits = [split for split in dict.fromkeys(name.partition("/")[0] for name in metrics) if split]
    first = (report["objective"]["metric"].partition("/")[2], "loss")
    names = dict.fromkeys(name.partition("/")[2] for name in metrics)
    ordered = list(dict.fromkeys([*(name for name in first if name in names), *names]))
    header = [f"{SPLITS.get(split, split)}{f' (n = {sizes[split]:,})' if split in sizes else ''}" for split in splits]
    rows: list[list[Child]] = []
    for name in ordered:
        found = [with_interval(name, metrics.get(f"{split}/{name}"), sizes.get(split)) for split in splits]
        rows.append([name, *found])
    intervals = any(name in FRACTIONS for name in ordered) and bool(sizes)
    note = "In brackets: Wilson's 95% interval for this number of samples." if intervals else None
    below = el("p", note, class_="muted") if note else None
    return join([table("Metrics of the best epoch", ["metric", *header], rows), below])


def with_interval(name: str, value: float | None, n: int | None) -> Child:
    """Return a value; for a fraction of `n` samples with its 95% interval."""
    if value is None or name not in FRACTIONS or not n or not 0 <= value <= 1:
        return value
    low, high = wilson(value, n)
    return join([number(value), " ", el("span", f"({low:.4f} to {high:.4f})", class_="muted")])


def wilson(fraction: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a fraction of `n` samples."""
    middle = (fraction + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(fraction * (1 - fraction) / n + Z * Z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def confusion_matrix(report: Mapping[str, Any]) -> list[list[int]] | None:
    """Return the confusion matrix of a report, rows are the true classes; None if it has no valid one."""
    rows: list[list[int]] | None = get(report, "confusion", kind=list)
    if not rows or len(rows) > MAX_CLASSES:
        return None
    for row in rows:
        if not isinstance(row, list) or len(row) != len(rows):
            return None
        if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in row):
            return None
    return rows


def per_class(report: Mapping[str, Any], num: int) -> dict[str, list[float | None]]:
    """Return name → value of each class, or None, of the scores in a report that have a value for all `num` classes."""
    found = get(report, "per_class", kind=dict) or {}
    return {
        name: [one if is_number(one) else None for one in values]
        for name, values in found.items()
        if isinstance(values, list) and len(values) == num
    }


def class_table(matrix: Sequence[Sequence[int]], names: Sequence[str], areas: Sequence[float | None] | None) -> Html:
    """Return precision, recall, F1 and AUROC of each class, and the class that it is most often confused with.

    Args:
        matrix: the confusion matrix, rows are the true classes.
        names: names of the classes.
        areas: AUROC of each class, if the report has them.
    """
    predicted = [sum(column) for column in zip(*matrix, strict=True)]
    rows: list[list[Child]] = []
    for index, row in enumerate(matrix):
        right, total = row[index], sum(row)
        precision = right / predicted[index] if predicted[index] else None
        recall = right / total if total else None
        f1 = 2 * right / (total + predicted[index]) if total + predicted[index] else None
        wrong = max((count, -other) for other, count in enumerate(row) if other != index) if len(row) > 1 else (0, 0)
        confused = f"{names[-wrong[1]]} ({wrong[0]:,})" if wrong[0] else "–"
        area = [fixed(areas[index])] if areas else []
        rows.append([names[index], total, *map(fixed, (precision, recall, f1)), *area, confused])
    header = ["class", "n", "precision", "recall", "F1", *(["AUROC"] if areas else []), "most often confused with"]
    return table("Classes on the test set", header, rows, sortable=True)


def label_table(report: Mapping[str, Any], names: Sequence[str] | None) -> Html:
    """Return what the report has about each label, with its threshold; empty if it has no thresholds.

    Args:
        report: a checked report.
        names: names of the labels, if they are known.
    """
    thresholds = get(report, "thresholds", kind=list)
    if not thresholds or not all(is_number(one) for one in thresholds):
        return Html("")
    num = len(thresholds)
    labels = names if names and len(names) == num else [str(index) for index in range(num)]
    scores = {**per_class(report, num), "threshold": thresholds}
    shown = [name for name in LABEL_SCORES if name in scores]
    columns = [scores[name] if name == "support" else map(fixed, scores[name]) for name in shown]
    rows = [[label, *cells] for label, *cells in zip(labels[:MAX_CLASSES], *columns, strict=False)]
    header = ["label", *(LABEL_SCORES[name] for name in shown)]
    caption = "Labels on the test set; a label is predicted if its probability reaches its threshold"
    return table(caption, header, rows, sortable=True)


def fixed(value: float | None) -> Child:
    """Return a fraction with four digits, in a form that is sorted as a number."""
    return None if value is None else float(value)


def matrix_table(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Html:
    """Return the confusion matrix as a table; a cell is the darker the larger its fraction of the row is."""
    if len(matrix) > MAX_MATRIX:
        return el("p", f"The confusion matrix has {len(matrix)} classes, which is too large to show. ",
                  "The table below lists its most frequent errors.")  # fmt: skip
    head = el("tr", el("th", "true \\ predicted", scope="col"), *(el("th", n, scope="col") for n in names))
    body = []
    for index, row in enumerate(matrix):
        total = sum(row)
        cells = [
            cell(count, "td", class_="number", style=f"--shade:{round(count / total, 3) if total else 0}",
                 data_kind="right" if other == index else "wrong" if count else "none")
            for other, count in enumerate(row)
        ]  # fmt: skip
        body.append(el("tr", el("th", names[index], scope="row"), *cells))
    caption = "Confusion matrix of the test set: true classes in rows, predicted classes in columns"
    content = el("table", el("caption", caption), el("thead", head), el("tbody", *body), class_="matrix")
    return scrollable(content, "Confusion matrix")


def confusions(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Html:
    """Return the most frequent errors; empty if there is none."""
    found = [
        (count, names[true], names[other], count / sum(row))
        for true, row in enumerate(matrix)
        for other, count in enumerate(row)
        if other != true and count
    ]
    found.sort(key=lambda entry: (-entry[0], -entry[3]))
    rows: list[list[Child]] = [
        [true, predicted, count, f"{part:.1%}"] for count, true, predicted, part in found[:MAX_CONFUSIONS]
    ]
    header = ["true class", "predicted as", "samples", "of the class"]
    return table("Most frequent errors on the test set", header, rows) if rows else Html("")


def classes_section(report: Mapping[str, Any] | None, names: list[str] | None) -> Html:
    """Return the metrics per class and the confusion matrix, or the metrics per label."""
    if not report:
        return Html("")
    absent = get(report, "absent_classes", kind=list)
    note = f"Not in the test set: {', '.join(map(str, absent[:50]))}." if absent else None
    content: list[Child] = [el("p", note) if note else None]
    if matrix := confusion_matrix(report):
        classes = names if names and len(names) == len(matrix) else [str(index) for index in range(len(matrix))]
        areas = per_class(report, len(matrix)).get("auroc")
        content += [class_table(matrix, classes, areas), matrix_table(matrix, classes), confusions(matrix, classes)]
    else:
        content.append(label_table(report, names))
    return section("Classes", *content, id_="classes") if any(content) else Html("")
