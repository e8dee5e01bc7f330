"""The results in a model card: data, metrics with their numbers of samples, and limits."""

from collections.abc import Mapping
from typing import Any

from leyden.data.composed import MultiDigitData
from leyden.data.datamodule import InMemoryData
from leyden.data.images import ImageData
from leyden.modules.classifier import Classifier
from leyden.modules.generative import GenerativeModule
from leyden.tools.markdown import code, escaped, listed, table
from leyden.tools.trained_model import TrainedModel

SPLITS = {"val": "validation", "test": "test"}


def entry(values: Any, *keys: str) -> Any:
    """Return a nested entry of a report, or None if it does not have it."""
    for key in keys:
        if not isinstance(values, Mapping) or key not in values:
            return None
        values = values[key]
    return values


def data_text(model: TrainedModel, report: Mapping[str, Any]) -> str:
    sizes = entry(report, "data", "sizes")
    rows = [["data set", code(entry(report, "data", "name") or type(model.data).__name__)]]
    if isinstance(sizes, Mapping):
        rows.append(["samples", escaped(", ".join(f"{num} {split}" for split, num in sizes.items()))])
    rows.append(["fingerprint", code(entry(report, "fingerprint") or "unknown")])
    rows.append(["verification", verification(model.data, entry(report, "data", "verified"))])
    return table(["", ""], rows)


def verification(data: InMemoryData, verified: Any) -> str:
    """Describe whether the files of a data set were compared with published checksums."""
    source = data.source_data if isinstance(data, MultiDigitData) else data
    if verified is None:
        return "unknown"
    if verified is not True:
        return "**failed**: a file with another checksum than the published one was accepted (`data.verify=false`)"
    if isinstance(source, ImageData) and source.published:
        return "the files have the published checksums"
    return "there are no published checksums; the fingerprint identifies the data"


def metrics_text(model: TrainedModel, report: Mapping[str, Any]) -> str:
    """Return a table of all metrics with the number of samples, and how the weights were selected."""
    metrics = entry(report, "metrics")
    if not isinstance(metrics, Mapping) or not metrics:
        return "The run has not finished, so it has no report."
    splits = [split for split in SPLITS if any(str(name).startswith(f"{split}/") for name in metrics)]
    names = dict.fromkeys(str(name).partition("/")[2] for name in metrics)
    heads = ["metric", *(f"{SPLITS[split]} ({num_samples(model, report, split)})" for split in splits)]
    rows = [[code(name), *(value(entry(metrics, f"{split}/{name}")) for split in splits)] for name in names]
    return f"{table(heads, rows)}\n\n{selection(report)}"


def value(number: Any) -> str:
    return f"{number:.6g}" if isinstance(number, int | float) else "–"


def num_samples(model: TrainedModel, report: Mapping[str, Any], split: str) -> str:
    """Return ``n = 360``, or that only a part of the split was used."""
    num = entry(report, "data", "sizes", split)
    if not isinstance(num, int):
        return "n unknown"
    limit = model.config.trainer[f"limit_{split}_batches"]
    is_whole = isinstance(limit, float) and limit == 1.0
    return f"n = {num:,}" if is_whole else f"n below {num:,}, trainer.limit_{split}_batches={limit}".replace("_", "\\_")


def selection(report: Mapping[str, Any]) -> str:
    objective = entry(report, "objective")
    mode = {"max": "largest", "min": "smallest"}.get(str(entry(objective, "mode")), "best")
    epoch, epochs = entry(objective, "epoch"), entry(report, "epochs")
    which = f"epoch {epoch + 1} of {epochs}" if isinstance(epoch, int) and isinstance(epochs, int) else "the epoch"
    return (
        f"The weights are those of {which}, which has the {mode} {code(entry(objective, 'metric'))}. Therefore the "
        "metrics of the validation set are optimistic. The test set was not used to select anything."
    )


def limits(model: TrainedModel, report: Mapping[str, Any]) -> list[str]:
    """Return what a user of the model must know about its results."""
    found = [
        f"The metrics are those of one training with seed {escaped(model.config.seed)}. Other seeds give other values.",
        "The metrics hold for data like the test set. The model was not tested on data of another origin.",
    ]
    if isinstance(model.module, Classifier):
        found.append("The model chooses one of its classes for every input, also for one that belongs to none of them.")
    if isinstance(model.module, GenerativeModule):
        found.append("It was not tested whether generated images repeat training images.")
    if absent := entry(report, "absent_classes"):
        names = ", ".join(code(name) for name in absent) if isinstance(absent, list) else code(absent)
        found.append(f"The test set has no samples of {names}; the averages over classes are without them.")
    if entry(report, "state") == "pruned":
        found.append("The training was stopped early by a sweep, and the model was not tested.")
    if entry(report, "privacy"):
        if not entry(report, "data", "train_on_all"):
            found.append("The privacy guarantee does not cover the validation samples, which chose the epoch.")
        if entry(report, "privacy", "noise") != "secure":
            found.append("The noise follows from the seed: the privacy guarantee holds only if the seed stays secret.")
    found.append(determinism(report))
    if model.config.plugins:
        found.append(f"Leyden can load it only with the plugins of the run: {listed(model.config.plugins)}.")
    return found


def privacy_text(report: Mapping[str, Any]) -> str:
    """Return the guarantee of a differentially private training."""
    epsilon, delta = (value(entry(report, "privacy", name)) for name in ("epsilon", "delta"))
    unit = "client" if entry(report, "privacy", "unit") == "client" else "training sample"
    return (
        f"differentially private with regard to each {unit}: ε = {epsilon}, δ = {delta} (Poisson sampling, "
        f"noise multiplier {value(entry(report, 'privacy', 'noise_multiplier'))})"
    )


def determinism(report: Mapping[str, Any]) -> str:
    if entry(report, "deterministic") is True:
        return "The training was deterministic: the same command gives the same bits on the same machine and versions."
    kernels = entry(report, "nondeterministic_kernels")
    named = f" ({', '.join(map(escaped, kernels))})" if isinstance(kernels, list) and kernels else ""
    return f"The training was not deterministic{named}, or it is not known: the same command can give other weights."
