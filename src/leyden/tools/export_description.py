"""What an exported file says about itself, and what its user should know."""

from typing import Any

import leyden
from leyden.data.tables import TableData
from leyden.modules.multilabel import Multilabel
from leyden.tools.export_formats import Format
from leyden.tools.exported_program import Port, input_port, output_ports
from leyden.tools.trained_model import TrainedModel

MEANINGS = {  # of the outputs, see `BaseModule.predict`
    "probabilities": "probabilities, 0 to 1",
    "labels": "whether the probability of a label reaches its threshold",
    "symbols": "number of the symbol at each position; the last symbol of the alphabet ends the text, then follows -1",
    "numbers": "predicted numbers, in the units of the targets",
    "steps": "the next steps of the series, in its unit",
    "scores": "anomaly score, at least 0; higher means more unusual",
    "reconstructions": "reconstructed pixels, 0 to 1",
    "images": "generated pixels, 0 to 1",
    "embeddings": "place in the space that images share with texts, a vector of length 1",
    "logits": "logit of each token of the vocabulary after each token of the input",
}


def description(model: TrainedModel, chosen: Format) -> dict[str, Any]:
    """Return what an exported file says about itself, as plain values. It names no folder of this machine."""
    if chosen.name != "safetensors":
        model.module.float()
    features = model.data.input_names() if isinstance(model.data, TableData) else None
    codes = model.data.codes() if isinstance(model.data, TableData) else {}
    labels = model.module if isinstance(model.module, Multilabel) else None
    return {
        "leyden": leyden.__version__,
        "format": chosen.name,
        "name": model.config.name,
        "task": type(model.module).__name__,
        "net": type(model.net).__name__,
        "input": as_plain(input_port(model)),
        "outputs": [{**as_plain(port), "meaning": MEANINGS.get(port.name, "")} for port in output_ports(model)],
        "classes": list(model.classes) if model.classes else None,
        "features": list(features) if features else None,
        "codes": codes or None,
        "thresholds": labels.thresholds.tolist() if labels else None,
        "files": model.data.files_of_run(),
    }


def as_plain(port: Port) -> dict[str, Any]:
    """Return an input or output as plain values; ``N`` is the size of a batch."""
    return {"name": port.name, "dtype": port.dtype, "shape": ["N", *port.shape]}


def notes(model: TrainedModel, chosen: Format) -> tuple[str, ...]:
    """Return what the user should know about the file."""
    found = []
    precision = str(model.config.trainer.precision)
    if chosen.name != "safetensors" and not precision.startswith("32"):
        found.append(f"the run was trained with trainer.precision={precision}; the file computes in float32")
    if chosen.name == "torch":
        found.append("torch.export.load can execute code that is in a file: load .pt2 files only of people you trust")
    return tuple(found)
