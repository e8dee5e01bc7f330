"""Tables and plots of an evaluation with classes or labels."""

from typing import Any

import torch
from torch import Tensor

from leyden.data.datamodule import printable
from leyden.errors import UserError
from leyden.metrics.calibration import NUM_BINS, Bins, bins, fit_temperature
from leyden.metrics.classification import class_auroc, confusion_matrix, per_class
from leyden.metrics.label_metrics import label_scores
from leyden.modules.classifier import Classifier
from leyden.modules.multilabel import Multilabel
from leyden.tools.class_plots import plot_confusion, plot_reliability, top_confusions
from leyden.tools.evaluation_report import Report, images_of
from leyden.tools.figures import image_grid, short
from leyden.tools.threshold_plots import plot_precision_recall, plot_roc

NUM_ERRORS = 25  # images of the most confident errors
LONG = 14  # characters of a class name above an image


def classification(report: Report) -> None:
    """Write tables and plots of a classifier."""
    module, found = report.evaluator.module, report.found
    assert isinstance(module, Classifier)
    assert found.outputs is not None
    names, labels = [printable(name) for name in module.class_names], found.targets
    probabilities, predicted = report.named_outputs()["probabilities"], found.outputs.argmax(1)
    confidence = probabilities.gather(1, predicted[:, None])[:, 0]
    confusion = confusion_matrix(predicted, labels, len(names))
    report.entries["confusions"] = top_confusions(confusion, names)
    report.write_csv(*class_table(names, confusion, class_auroc(probabilities, labels)))
    columns = [[names[label] for label in values.tolist()] for values in (labels, predicted)]
    report.write_predictions(("target", "prediction", "probability"), [*columns, confidence.tolist()])
    accuracy = float((predicted == labels).double().mean())
    report.draw("confusion.png", plot_confusion, confusion, names, f"{report.title}: accuracy {accuracy:.2%}")
    calibration(report, predicted == labels, confidence)
    members = torch.nn.functional.one_hot(labels, len(names)).bool()
    report.draw("roc.png", plot_roc, probabilities, members, names, report.title)
    report.draw("precision_recall.png", plot_precision_recall, probabilities, members, names, report.title)
    captions = [f"{short(true, LONG)} → {short(guess, LONG)}\n" for true, guess in zip(*columns, strict=True)]
    write_errors(report, predicted != labels, confidence, captions, "true → predicted, probability")


def class_table(names: list[str], confusion: Tensor, areas: Tensor) -> tuple[str, list[str], list[list[Any]]]:
    """Return name, header and rows of classes.csv; an AUROC that is not defined is empty."""
    scores = per_class(confusion)
    numbers = (scores["precision"], scores["recall"], scores["f1"], confusion.sum(1))
    columns = [values.tolist() for values in numbers]
    rows = [list(row) for row in zip(names, *columns, without_nan(areas), strict=True)]
    return "classes.csv", ["class", "precision", "recall", "f1", "support", "auroc"], rows


def without_nan(values: Tensor) -> list[float | str]:
    """Return numbers, and an empty text for each NaN."""
    return ["" if value != value else value for value in values.tolist()]


def calibration(report: Report, correct: Tensor, confidence: Tensor) -> None:
    """Draw the reliability before and after temperature scaling. The temperature is fitted on the validation split.

    Args:
        report: the evaluation of a classifier.
        correct: bool (N,)
        confidence: probability of each prediction, float (N,)
    """
    before, after = bins(confidence, correct), None
    entry: dict[str, Any] = {"bins": NUM_BINS, "ece": before.error}
    notes = [f"as trained: calibration error {before.error:.2%}"]
    temperature = validation_temperature(report)
    if temperature is not None:
        after = rescaled(report, temperature, correct)
        entry |= {"temperature": temperature, "fitted_on": "val", "ece_after": after.error}
        notes.append(f"temperature {temperature:.3g} (fitted on val): {after.error:.2%}")
    report.entries["calibration"] = entry
    report.draw("reliability.png", plot_reliability, before, after, f"{report.title}: calibration", notes)


def rescaled(report: Report, temperature: float, correct: Tensor) -> Bins:
    """Return the bins of the predictions with logits that are divided by `temperature`."""
    assert report.found.outputs is not None
    return bins((report.found.outputs.double() / temperature).softmax(1).amax(1), correct)


def validation_temperature(report: Report) -> float | None:
    """Return the temperature that is best on the validation split, or None if its data is not on this machine."""
    found, evaluator = report.found, report.evaluator
    try:
        val = found if found.name == "val" and not found.sources else evaluator.evaluate("val")
    except UserError as error:
        report.notes.append(f"temperature: is not fitted, because the validation split cannot be read ({error})")
        return None
    assert val.outputs is not None
    return fit_temperature(val.outputs, val.targets)


def multilabel(report: Report) -> None:
    """Write tables and plots of a task with several labels."""
    module, found = report.evaluator.module, report.found
    assert isinstance(module, Multilabel)
    names, targets = [printable(name) for name in module.class_names], found.targets > 0
    named = report.named_outputs()
    probabilities, predicted = named["probabilities"], named["labels"]
    report.write_csv(*label_table(names, predicted, targets, probabilities, module.thresholds.cpu()))
    columns = [[" ".join(label_names(names, row)) for row in values] for values in (targets, predicted)]
    report.write_predictions(("target", "prediction"), columns)
    report.draw("roc.png", plot_roc, probabilities, targets, names, report.title)
    report.draw("precision_recall.png", plot_precision_recall, probabilities, targets, names, report.title)
    report.notes.append("confusion.png and reliability.png: do not apply, because a sample has several labels")
    errors = predicted != targets
    # How sure the model is of each label that is wrong, and the label of which it is most sure.
    confidence, worst = torch.where(predicted, probabilities, 1 - probabilities).where(errors, -1).max(1)
    was_predicted = predicted.gather(1, worst[:, None])[:, 0].tolist()
    wrong = [
        ("" if said else "not ") + short(names[label], LONG) for label, said in zip(worst, was_predicted, strict=True)
    ]
    shown = [[short(labels or "(none)") for labels in column] for column in columns]
    captions = [f"true: {a}\npredicted: {b}\n{c}" for a, b, c in zip(*shown, wrong, strict=True)]
    write_errors(report, errors.any(1), confidence, captions, "last line: the wrong label and its probability")


def label_names(names: list[str], row: Tensor) -> list[str]:
    """Return the names of the labels that are true in `row`, bool (K,)."""
    return [names[label] for label in row.nonzero().flatten().tolist()]


def label_table(
    names: list[str], predicted: Tensor, targets: Tensor, probabilities: Tensor, thresholds: Tensor
) -> tuple[str, list[str], list[list[Any]]]:
    """Return name, header and rows of classes.csv with a row per label. Values that are not defined are empty.

    Args:
        names: K names of the labels.
        predicted, targets: bool (N, K)
        probabilities: float (N, K)
        thresholds: float (K,)
    """
    scores = label_scores(predicted, targets, probabilities)
    columns = ["precision", "recall", "f1", "support", "auroc", "average_precision"]
    values = [without_nan(scores[name]) for name in columns]
    rows = [list(row) for row in zip(names, *values, thresholds.tolist(), strict=True)]
    return "classes.csv", ["label", *columns, "threshold"], rows


def write_errors(report: Report, wrong: Tensor, confidence: Tensor, captions: list[str], meaning: str) -> None:
    """Write errors.png: the images of the errors with the highest confidence.

    Args:
        report: the evaluation.
        wrong: which samples are errors, bool (N,)
        confidence: float (N,)
        captions: N texts; the probability is added at their end.
        meaning: what a caption says.
    """
    images = images_of(report)
    if images is None or not wrong.any():
        reason = "there are no errors" if images is not None else "the inputs are not images"
        report.notes.append(f"errors.png: does not apply, because {reason}")
        return
    order = confidence.where(wrong, -1).sort(descending=True, stable=True).indices
    num = int(wrong.sum())
    chosen = order[: min(NUM_ERRORS, num)].tolist()
    texts = [f"{captions[index]} {float(confidence[index]):.1%} (index {index})" for index in chosen]
    which = f"the {len(chosen)} most confident of {num:,} errors" if num > len(chosen) else f"all {num} errors"
    title = f"{report.title}: {which}\n{meaning}"
    report.draw("errors.png", image_grid, [images[index] for index in chosen], texts, title)
