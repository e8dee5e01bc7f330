"""Tables and plots of tasks whose output is a text or an image: transcription, clip, autoencoder, vae and gan."""

import torch
from torch import Tensor

from leyden.data.datamodule import printable
from leyden.metrics.calibration import NUM_BINS, bins
from leyden.modules import plots
from leyden.modules.autoencoder import Autoencoder
from leyden.modules.clip import CLIP
from leyden.modules.generative import GenerativeModule
from leyden.modules.pixels import to_pixels
from leyden.modules.transcriber import Transcriber
from leyden.modules.vae import VAE
from leyden.seeding import generator
from leyden.tools.class_plots import plot_reliability
from leyden.tools.class_reports import write_errors
from leyden.tools.evaluation_report import Report
from leyden.tools.figures import image_grid, short
from leyden.tools.number_plots import plot_anomaly_scores
from leyden.tools.threshold_plots import plot_precision_recall, plot_roc

NUM_SAMPLES = 64
NUM_WORST = 15  # reconstructions


def transcription(report: Report) -> None:
    """Write tables and plots of a transcription: a text counts as correct if all its symbols are."""
    module, found = report.evaluator.module, report.found
    assert isinstance(module, Transcriber)
    readings = module.predictions(report.named_outputs())
    predicted = [printable(str(reading.prediction)) for reading in readings]
    texts = [printable(module.text(row)) for row in found.targets.tolist()]
    confidence = torch.tensor([reading.probability for reading in readings])
    correct = torch.tensor([text == guess for text, guess in zip(texts, predicted, strict=True)])
    report.write_predictions(("target", "prediction", "probability"), [texts, predicted, confidence.tolist()])
    before = bins(confidence, correct)
    report.entries["calibration"] = {"bins": NUM_BINS, "ece": before.error}
    note = [f"probability of a text: calibration error {before.error:.2%}"]
    report.draw("reliability.png", plot_reliability, before, None, f"{report.title}: calibration", note)
    captions = [f"{short(text)} → {short(guess) or '(empty)'}\n" for text, guess in zip(texts, predicted, strict=True)]
    write_errors(report, ~correct, confidence, captions, "true → predicted text, probability")
    report.notes.append("confusion.png, roc.png and classes.csv: do not apply, because the output is a text")


def retrieval(report: Report) -> None:
    """Write which text each image is most similar to, of all texts that there are, and the most confident errors."""
    module, found = report.evaluator.module, report.found
    assert isinstance(module, CLIP)
    readings = module.predictions(report.named_outputs())
    predicted, texts = [str(reading.prediction) for reading in readings], module.texts_of(found.targets)
    confidence = torch.tensor([reading.probability for reading in readings])
    wrong = torch.tensor([text != guess for text, guess in zip(texts, predicted, strict=True)])
    report.write_predictions(("target", "prediction", "probability"), [texts, predicted, confidence.tolist()])
    num, accuracy = len(module.known.texts), 1 - float(wrong.double().mean())
    report.entries["all_texts"] = {"candidates": num, "acc": accuracy}
    captions = [f"{short(text)} → {short(guess)}\n" for text, guess in zip(texts, predicted, strict=True)]
    write_errors(report, wrong, confidence, captions, "true → most similar text, probability")
    report.notes.append(f"predictions.csv: the most similar of all {num:,} texts; it is right for {accuracy:.2%}")


def autoencoder(report: Report) -> None:
    """Write anomaly scores, their histogram, and the worst reconstructions."""
    module, found = report.evaluator.module, report.found
    assert isinstance(module, Autoencoder)
    assert found.outputs is not None
    scores, labels = found.outputs.float(), found.targets
    known = report.evaluator.data.class_names() or [f"class {label}" for label in range(int(labels.max()) + 1)]
    names = [printable(name) for name in known]
    columns = [[names[label] for label in labels.tolist()], scores.tolist()]
    report.write_predictions(("target", "score"), columns)
    anomalous = None if module.anomaly is None else labels == module.anomaly
    excluded = "" if module.anomaly is None else names[module.anomaly]
    title = f"{report.title}: anomaly scores"
    report.draw("anomaly_scores.png", plot_anomaly_scores, scores, anomalous, excluded, title)
    if anomalous is None or anomalous.all() or not anomalous.any():
        reason = "no class was excluded from the training" if anomalous is None else "there is only one of both groups"
        report.notes.append(f"roc.png and precision_recall.png: do not apply, because {reason}")
    else:
        curves = scores[:, None], anomalous[:, None], [f"{excluded}, not in the training"], report.title
        report.draw("roc.png", plot_roc, *curves)
        report.draw("precision_recall.png", plot_precision_recall, *curves)
    worst_reconstructions(report, module, scores, columns[0])


def worst_reconstructions(report: Report, module: Autoencoder, scores: Tensor, classes: list[str]) -> None:
    """Write reconstructions.png: images with the highest scores, each next to its reconstruction."""
    chosen = scores.sort(descending=True, stable=True).indices[:NUM_WORST]
    batch = report.evaluator.module_inputs(report.found.inputs[chosen])
    with torch.no_grad():
        pairs = torch.cat([to_pixels(module, batch), module(batch)], 3).float().cpu()  # (B, C, H, 2 W)
    captions = [
        f"{short(classes[index], 14)}: score {float(scores[index]):.3g}\n(index {index})" for index in chosen.tolist()
    ]
    title = f"{report.title}: the {len(chosen)} worst reconstructions\nleft: image, right: its reconstruction"
    report.draw("reconstructions.png", image_grid, list(pairs), captions, title)


def generative(report: Report) -> None:
    """Write samples, and the reconstructions of a vae."""
    module = report.evaluator.module
    assert isinstance(module, GenerativeModule)
    name = printable(str(report.evaluator.config.name))
    samples = plots.grid(module.sample(NUM_SAMPLES, generator(0, "pictures"))).float()
    report.draw("samples.png", image_grid, [samples], [""], f"{name}: {NUM_SAMPLES} generated images", side=6.0)
    if isinstance(module, VAE):
        batch = report.evaluator.module_inputs(report.found.inputs[: plots.NUM_IMAGES])
        with torch.no_grad():
            pairs = plots.pairs(to_pixels(module, batch), module(batch)).float()
        title = f"{report.title}\nodd rows: images; the row below each: their reconstructions"
        report.draw("reconstructions.png", image_grid, [pairs], [""], title, side=6.0)
    report.notes.append("predictions.csv and plots of errors: do not apply, because the model generates images")
