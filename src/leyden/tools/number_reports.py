"""Tables and plots of an evaluation with numbers: regression and forecasting."""

from leyden.modules.forecaster import Forecaster, seasonal_naive
from leyden.tools.evaluation_report import Report
from leyden.tools.number_plots import plot_error_by_step, plot_forecasts, plot_residuals


def regression(report: Report) -> None:
    """Write tables and plots of a regression, in the units of the targets."""
    outputs, targets = report.found.outputs, report.found.targets
    assert outputs is not None
    num = targets.shape[1]
    names = ["target"] if num == 1 else [f"target {number}" for number in range(num)]
    header = [f"{what}{name.removeprefix('target')}" for name in names for what in ("target", "prediction")]
    columns = [values[:, number].tolist() for number in range(num) for values in (targets, outputs)]
    report.write_predictions(header, columns)
    error = float((outputs - targets).abs().mean())
    title = f"{report.title}: mean absolute error {error:.4g}"
    report.draw("residuals.png", plot_residuals, outputs.double(), targets.double(), names, title)


def forecasting(report: Report) -> None:
    """Write tables and plots of a forecast next to the naive forecast, in the units of the series."""
    module, found = report.evaluator.module, report.found
    assert isinstance(module, Forecaster)
    assert found.outputs is not None
    outputs, targets = found.outputs, found.targets
    reference = module.report()["reference"]
    season = int(reference["season"])
    naive = seasonal_naive(found.inputs, season, targets.shape[1])
    name = "naive forecast" if season == 1 else f"seasonal-naive forecast (season {season})"
    report.entries["reference"] = reference
    rows = zip(outputs.tolist(), targets.tolist(), naive.tolist(), strict=True)
    table = (
        (index, step, *numbers)
        for index, lines in enumerate(rows)
        for step, numbers in enumerate(zip(lines[1], lines[0], lines[2], strict=True), 1)
    )
    report.write_csv("predictions.csv", ["index", "step", "target", "prediction", "naive"], table)
    error = float((outputs - targets).abs().mean())
    title = f"{report.title}: mean absolute error {error:.4g}, {name} {float((naive - targets).abs().mean()):.4g}"
    report.draw("forecasts.png", plot_forecasts, found.inputs, outputs, targets, naive, name, title)
    report.draw(
        "error_by_step.png", plot_error_by_step, outputs, targets, naive, name, f"{report.title}: error of each step"
    )
