"""The table and the plot of a translation."""

from typing import Any

from leyden.data.datamodule import printable
from leyden.metrics.translations import sentence_scores
from leyden.modules.translator import Translator, spread
from leyden.tools.evaluation_report import Report
from leyden.training.image_logger import write_png


def translation(report: Report) -> None:
    """Write all translations with their sources and true translations, and a plot of the attention of a few."""
    module, found = report.evaluator.module, report.found
    assert isinstance(module, Translator)
    symbols = report.named_outputs()["symbols"]  # (N, L)
    translations = [module.text(row) for row in symbols.tolist()]
    references = [module.text(row) for row in found.targets.tolist()]
    columns: dict[str, list[Any]] = {
        "source": [printable(module.source(row)) for row in found.inputs.tolist()],
        "target": list(map(printable, references)),
        "prediction": list(map(printable, translations)),
        "exact": [int(one == other) for one, other in zip(translations, references, strict=True)],
    }
    if module.bleu:
        columns["chrf"] = [round(score, 2) for score in sentence_scores(translations, references)]
    report.write_predictions(tuple(columns), list(columns.values()))
    batch = report.evaluator.module_inputs(found.inputs[spread(range(len(found.inputs)))])
    report.draw("attention.png", lambda path: write_png(path, module.attention_plot(batch)))
    report.notes.append("confusion.png, errors.png and roc.png: do not apply, because the output is a text")
