"""The model card of a run: what it predicts, from which data, how well, and how to load it.

The run folder may come from a stranger: all of its texts are escaped, see `leyden.tools.markdown`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leyden.data.tables import TableData
from leyden.errors import UserError
from leyden.modules.flow import Flow
from leyden.modules.generative import GenerativeModule
from leyden.modules.language_model import LanguageModel
from leyden.modules.multilabel import Multilabel
from leyden.modules.transcriber import Transcriber
from leyden.modules.translator import Translator
from leyden.records.json_files import read_json, read_report
from leyden.tools.card_results import data_text, entry, limits, metrics_text, privacy_text
from leyden.tools.card_snippets import snippets
from leyden.tools.exported_program import input_port, output_ports
from leyden.tools.load import load
from leyden.tools.markdown import code, escaped, fenced, listed, table
from leyden.tools.trained_model import TrainedModel

MARK = "<!-- model card, written by Leyden -->"


def checked_card(folder: Path) -> Path:
    """Return the path of the model card in a folder.

    Raises:
        UserError: there is a README.md that is not a model card of Leyden.
    """
    path = folder / "README.md"
    if path.exists() or path.is_symlink():
        is_card = path.is_file() and not path.is_symlink()
        if not (is_card and path.read_bytes().startswith(MARK.encode())):
            raise UserError(f"{path}: exists and is not a model card of Leyden. Choose a file in another folder: --out")
    return path


def model_card(run: str | Path, files: Mapping[str, Path] | None = None) -> str:
    """Return the model card of a run as Markdown.

    Args:
        run: a run folder.
        files: format → exported file, for the code that loads it, see `leyden.tools.export_formats.FORMATS`.

    Raises:
        UserError: the run cannot be loaded, or its report is damaged.
    """
    model = load(run)
    report = read_report(model.folder) or {}
    origin_path = model.folder / "origin.json"
    origin = read_json(origin_path) if origin_path.is_file() else {}
    sections = [
        f"{MARK}\n# {code(model.config.name)}",
        introduction(model),
        f"## Input and output\n\n{interface(model)}",
        f"## Data\n\n{data_text(model, report)}",
        f"## Metrics\n\n{metrics_text(model, report)}",
        f"## Limits\n\n{bullets(limits(model, report))}",
        "## How to load it",
        *(f"### {heading}\n\n{text}" for heading, text in snippets(model, files or {})),
        f"## Training\n\n{training_text(model, report, origin)}",
        "## License\n\nNot stated. Whoever publishes this model must state its license here, and must check whether "
        "the license of the data allows it.",
    ]
    return "\n\n".join(sections) + "\n"


def bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def introduction(model: TrainedModel) -> str:
    task = (type(model.module).__doc__ or "").strip().split("\n")[0]
    data = type(model.data).__name__
    return (
        f"Net {code(type(model.net).__name__)} with {model.module.num_parameters:,} parameters, trained on "
        f"{code(data)} for the task {code(type(model.module).__name__)}: {escaped(task)}"
    )


def interface(model: TrainedModel) -> str:
    """Describe what goes in and out, and the names of classes and features."""
    rows = [["input", code(input_port(model))], *(["output", code(port)] for port in output_ports(model))]
    lines = [f"{table(['', 'name, type and shape; N is the size of a batch'], rows)}", preparation(model)]
    if model.classes and not isinstance(model.module, LanguageModel):
        lines.append(f"Classes in the order of their numbers: {listed(model.classes)}.")
    if isinstance(model.data, TableData) and (inputs := model.data.input_names()):
        lines.append(f"Inputs in their order: {listed(inputs)}.")
    for name, codes in model.data.codes().items() if isinstance(model.data, TableData) else ():
        numbered = listed([f"{number} {category}" for category, number in codes.items()])
        lines.append(f"Codes of {code(name)}: {numbered}; 0 for any other and for a missing value.")
    if isinstance(model.module, Multilabel):
        lines.append(f"Thresholds of the labels: {', '.join(f'{t:.4g}' for t in model.module.thresholds.tolist())}.")
    if isinstance(model.module, Transcriber | Translator):
        end = model.module.num_symbols - 1
        lines.append(f"The symbol {end} ends a text; after it follows -1.")
    return "\n\n".join(lines)


def preparation(model: TrainedModel) -> str:
    """Describe how an input must look like."""
    if isinstance(model.module, Flow):
        return (
            "The latents are numbers from a standard normal distribution. Each gives one image; its last number "
            "chooses the class, in the order of the classes from small to large numbers."
        )
    if isinstance(model.module, GenerativeModule):
        return "The latents are numbers from a standard normal distribution. Each gives one image."
    if model.data.input_kind == "image":
        channels, height, width = model.data.shape
        colour = "grey" if channels == 1 else "colour (RGB)" if channels == 3 else f"{channels}-channel"
        return (
            f"Images are {colour}, {height} pixels high and {width} wide, uint8 from 0 to 255. Exported files "
            "normalise them. Images of another size must be resized before; Leyden does it itself."
        )
    if model.data.input_kind == "row":
        missing = "A missing value is NaN. " if isinstance(model.data, TableData) and model.data.impute else ""
        return f"Features are raw numbers in the units of the data set. {missing}Exported files standardise them."
    if model.data.input_kind == "series":
        return f"A window is the last {model.data.shape[0]} steps of a series in its own unit. Exported files scale it."
    if model.data.input_kind == "text":
        return (
            f"A text is a sequence of {model.data.shape[0]} token ids: 0 is padding on the right, 1 an unknown token. "
            "The tokenizer is in `tokenizer.json` of the run folder, and in the entry `files` of an exported file."
        )
    return "Exported files take inputs as the data set reads them."


def training_text(model: TrainedModel, report: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    """Return the command, and a table of versions, commit, hardware and time."""
    seconds = entry(report, "seconds", "training")
    versions = entry(origin, "versions")
    named = versions.items() if isinstance(versions, Mapping) else ()
    rows = [
        ["commit", commit(origin)],
        ["versions", code(", ".join(f"{name} {version}" for name, version in named) or "unknown")],
        ["hardware", code(entry(report, "device") or "unknown")],
        ["processes", escaped(entry(report, "processes") or "unknown")],
        ["precision", code(model.config.trainer.precision)],
        *([["privacy", privacy_text(report)]] if entry(report, "privacy") else []),
        ["epochs, steps", escaped(f"{entry(report, 'epochs')}, {entry(report, 'steps')}")],
        ["training time", f"{seconds:,.0f} s" if isinstance(seconds, int | float) else "unknown"],
    ]
    command = str(entry(origin, "command") or "unknown").replace("\n", " ")
    return f"{fenced(command, 'sh')}\n\n{table(['', ''], rows)}"


def commit(origin: Mapping[str, Any]) -> str:
    found = entry(origin, "git", "commit")
    changed = " with changes that were not committed (`uncommitted.diff`)" if entry(origin, "git", "dirty") else ""
    return f"{code(found)}{changed}" if found else "unknown"
