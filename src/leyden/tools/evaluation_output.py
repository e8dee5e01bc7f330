"""Print the result of an evaluation as text."""

from collections.abc import Mapping
from typing import Any

from leyden.data.datamodule import printable
from leyden.tools.evaluated import Evaluated
from leyden.tools.evaluation_report import Report
from leyden.tools.evaluator import Evaluator


def print_report(evaluator: Evaluator, found: Evaluated, report: Report | None) -> None:
    """Print the metrics, the calibration, the files that were written, and which ones do not apply."""
    data = evaluator.config.data
    own_fold = found.name == "val" and not found.sources and data.get("num_folds")
    fold = f" (data.fold={data.fold} of {data.num_folds} folds)" if own_fold else ""
    name = printable(str(evaluator.config.name))
    print(f"{name} on {printable(found.name)}{fold}: {len(found.targets):,} samples, {evaluator.device_name}\n")
    print_table(found.metrics)
    if report is None:
        return
    if calibration := report.entries.get("calibration"):
        print(f"  calibration error  {calibration['ece']:.4f}", end="")
        after = "  ({ece_after:.4f} with temperature {temperature:.3g}, fitted on {fitted_on})"
        print(after.format(**calibration) if "temperature" in calibration else "")
    print(f"\nwritten to {report.folder}:")
    print(f"  {'  '.join(path.name for path in report.paths)}")
    for note in report.notes:
        print(f"  {note}")


def print_table(metrics: Mapping[str, float]) -> None:
    """Print a line per metric."""
    width = max(map(len, metrics), default=0)
    for name, value in metrics.items():
        print(f"  {printable(name):<{width}}  {number(value)}")


def number(value: float) -> str:
    """Return ``0.9889``, but ``2,931.4``."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def print_folds(found: Mapping[str, Any]) -> None:
    """Print the metrics of each fold, their mean and their standard deviation."""
    folds, mean, std = found["folds"], found["mean"], found["std"]
    total = found["num_folds"]
    print(f"validation folds: {', '.join(str(fold) for fold in folds)} ({len(folds)} of {total}; they count from 0)\n")
    if len(folds) < total:
        print(f"Only {len(folds)} of {total} folds were given, so the mean is not that of all samples.\n")
    width = max(map(len, mean))
    heads = [f"fold {fold}" for fold in folds] + ["mean", "std"]
    print(f"  {'':<{width}}  {'  '.join(f'{head:>9}' for head in heads)}")
    for name in mean:
        values = [metrics[name] for metrics in folds.values()] + [mean[name], std[name]]
        cells = ["" if value is None else number(value) for value in values]
        print(f"  {printable(name):<{width}}  {'  '.join(f'{cell:>9}' for cell in cells)}")
