"""Explain image files or texts, and write an image for each and one of all."""

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track
from torch import Tensor

from leyden.data.datamodule import printable
from leyden.errors import UserError
from leyden.modules.translator import Translator
from leyden.records.run_folder import refuse_link
from leyden.tools.csv_inputs import Input
from leyden.tools.explain import Explainer, Explanation
from leyden.tools.explanation_plots import MAX_ROWS, plot_explanation, plot_overview
from leyden.tools.trained_model import TrainedModel
from leyden.tools.word_influence import plot_words, word_influence
from leyden.training.image_logger import write_png

MAX_TEXTS = 8  # in an overview
MAX_NAME = 40  # characters of the name of a file


@dataclass
class Written:
    """The files that were written, and a message for each image that could not be read."""

    paths: list[Path] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def write_explanations(explainer: Explainer, inputs: Sequence[Input], folder: Path) -> Written:
    """Write ``NAME-explained.png`` for each image, and ``overview.png``.

    Args:
        explainer: explains the predictions of a run.
        inputs: the images, see `leyden.tools.input_files.find_inputs`.
        folder: the folder to write to. It is created if necessary.

    Raises:
        UserError: the folder cannot be written, or is a link.
    """
    make_folder(folder)
    written, explained, names = Written(), list[Explanation](), list[str]()
    used: Counter[str] = Counter()
    bar = Console(stderr=True)
    for item in track(inputs, "explaining", console=bar, transient=True, disable=not sys.stderr.isatty()):
        try:
            explanation = explainer.explain(explainer.model.data.encode(item.value))
        except UserError as error:
            written.broken.append(printable(str(error)))
            continue
        path = folder / f"{unique(Path(item.name).stem, used)}-explained.png"
        plot_explanation(path, explanation, Path(item.name).name)
        written.paths.append(path)
        if len(explained) <= MAX_ROWS:  # the overview shows only the first ones
            explained.append(explanation)
            names.append(Path(item.name).name)
    if explained:
        plot_overview(folder / "overview.png", explained, names, len(written.paths))
        written.paths.append(folder / "overview.png")
    return written


def write_texts(model: TrainedModel, inputs: Sequence[Input], folder: Path) -> Written:
    """Explain texts, see `write_attention` for those to translate, and `write_words` for those with labels."""
    write = write_attention if isinstance(model.module, Translator) else write_words
    return write(model, inputs, folder)


def write_attention(model: TrainedModel, inputs: Sequence[Input], folder: Path) -> Written:
    """Write ``NAME-attention.png`` for each text: which of its tokens the model reads for each symbol that it writes.

    ``overview.png`` shows the first texts. The other arguments and errors are those of `write_explanations`.

    Args:
        model: a loaded run of ``task=translation``.
    """
    module = model.module
    assert isinstance(module, Translator)
    make_folder(folder)
    written, samples, used = Written(), list[Tensor](), Counter[str]()
    for item in inputs:
        try:
            if item.error:
                raise UserError(item.error)
            sample = model.data.encode(item.value)
        except UserError as error:
            written.broken.append(printable(str(error)))
            continue
        path = folder / f"{unique(text_name(item.name), used)}-attention.png"
        write_png(path, module.attention_plot(model.batch([sample])))
        written.paths.append(path)
        samples.append(sample)
    if samples:
        write_png(folder / "overview.png", module.attention_plot(model.batch(samples[:MAX_TEXTS])))
        written.paths.append(folder / "overview.png")
    return written


def write_words(model: TrainedModel, inputs: Sequence[Input], folder: Path) -> Written:
    """Write ``NAME-explained.png`` for each text: which of its words speak for the prediction.

    The other arguments and errors are those of `write_explanations`.

    Args:
        model: a loaded run on texts with labels.
    """
    make_folder(folder)
    written, used = Written(), Counter[str]()
    for item in inputs:
        try:
            if item.error:
                raise UserError(item.error)
            found = word_influence(model, item.value)
        except UserError as error:
            written.broken.append(printable(str(error)))
            continue
        path = folder / f"{unique(text_name(item.name), used)}-explained.png"
        plot_words(path, found, item.name)
        written.paths.append(path)
    return written


def text_name(name: str) -> str:
    """Return the name of a text, which may be the text itself, as the name of a file."""
    return re.sub(r"\W+", "-", Path(name).name if Path(name).suffix else name)[:MAX_NAME].strip("-") or "text"


def make_folder(folder: Path) -> None:
    """Create the folder for the results.

    Raises:
        UserError: it is a link or a file, or cannot be created.
    """
    refuse_link(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: cannot create {folder} ({error.strerror})") from error


def unique(stem: str, used: Counter[str]) -> str:
    """Return a file name, with a number if images in different folders have the same name."""
    used[stem] += 1
    return stem if used[stem] == 1 else f"{stem}-{used[stem]}"
