"""Read data that a run was not trained on, to evaluate the run on it.

A run on images reads a folder that contains a folder for each class, with the name of the class. A run on a table reads
a CSV or Parquet file with the columns of the features and of the targets, in their own units. A run on series reads
such a file, of which every window is evaluated. A run on texts reads a file with columns of texts and labels, or class
folders of .txt files.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from leyden.data.datamodule import InMemoryData, printable
from leyden.data.image_files.decode import decode_all
from leyden.data.image_files.listing import EXTENSIONS, list_images, subfolders
from leyden.data.loaders import Batch
from leyden.data.series import Series
from leyden.data.tables import TableData
from leyden.data.texts import TextData
from leyden.errors import UserError
from leyden.modules.autoencoder import Autoencoder
from leyden.modules.base import BaseModule
from leyden.modules.classifier import Classifier
from leyden.modules.generative import GenerativeModule
from leyden.tools.choices import task_name
from leyden.tools.csv_inputs import rows
from leyden.tools.text_inputs import labelled_texts

RESERVED = ("val", "test")  # names of the run's own splits
MAX_LISTED = 300  # characters of names in an error


@dataclass(frozen=True, eq=False)
class OtherData:
    """Samples to evaluate.

    Args:
        batch: inputs and targets, as `InMemoryData.read` returns them.
        sources: the name of each sample, for example its file.
        broken: a message for each file that could not be read.
    """

    batch: Batch
    sources: tuple[str, ...]
    broken: tuple[str, ...] = ()


def read_other(data: InMemoryData, module: BaseModule, path: Path, cfg: DictConfig) -> OtherData:
    """Read the data at `path` in the form that a run needs.

    Args:
        data: the data set of the run. It need not have read anything.
        module: the module of the run.
        path: a folder or a file, see the module's docstring.
        cfg: the config of the run.

    Raises:
        UserError: the data does not fit the run or cannot be read.
    """
    if not path.exists():
        raise UserError(f"--data: {path} does not exist")
    with_classes = isinstance(module, Classifier | Autoencoder | GenerativeModule)
    if data.input_kind == "image" and with_classes and data.class_names():
        return read_images(path, data.class_names() or (), data.shape)
    if isinstance(data, TableData):
        return read_table(path, data)
    if isinstance(data, Series):
        return read_series(path, data)
    if isinstance(data, TextData):
        ids, targets, sources = labelled_texts(path, data)
        return OtherData((ids, targets), sources)
    task = task_name(str(cfg.task["_target_"]))
    raise UserError(
        f"--data: does not apply to task={task} on {type(data).__name__}. It applies to images with one class each, to "
        "tables, to series and to texts with labels"
    )


def read_images(folder: Path, classes: Sequence[str], shape: Sequence[int]) -> OtherData:
    """Read all images in the class folders of `folder`. Files that cannot be decoded are left out.

    Args:
        folder: contains a folder for some or all of the classes.
        classes: the names of the classes of the run.
        shape: [C, H, W] to which every image is resized.

    Raises:
        UserError: a folder is not one of the classes, or there is no image.
    """
    if not (names := subfolders(folder)):
        raise UserError(f"--data: {folder} has no class folders; the classes are {listed(classes)}")
    if unknown := [name for name in names if name not in classes]:
        first = folder / printable(unknown[0])
        raise UserError(f"--data: {first} is not one of the classes of the run, which are {listed(classes)}")
    try:
        files, _ = list_images(folder, classes)
        pixels, broken = decode_all(files, shape)
    except UserError as error:  # it names the config key, which the user of this function does not have
        raise UserError(str(error).replace("data.root:", "--data:", 1)) from error
    kept = [position for position in range(len(files)) if position not in broken]
    if not files:
        raise UserError(f"--data: {folder} contains no images; they end in {', '.join(EXTENSIONS)}")
    if not kept:
        example = f"{printable(files[0].path)} ({broken[0]})"
        raise UserError(f"--data: {folder} contains no image that can be read; the first is {example}")
    labels = torch.tensor([files[position].label for position in kept])
    sources = tuple(files[position].path for position in kept)
    messages = tuple(f"{files[position].path}: cannot be read ({reason})" for position, reason in broken.items())
    return OtherData((torch.from_numpy(pixels)[kept], labels), sources, messages)


def read_table(path: Path, data: TableData) -> OtherData:
    """Read the rows of a CSV or Parquet file: the columns of the features, and the remaining columns as the targets.

    Raises:
        UserError: a column is missing, there are too many columns, or a value is not a number.
    """
    samples, targets, sources = [], [], []
    columns: list[str] = []
    for row in rows(path, data):
        if row.error:
            raise UserError(f"--data: {row.error}")
        columns = columns or target_columns(path, list(row.value), data)
        try:
            samples.append(data.encode(row.value))
            targets.append(data.encode_targets(row.value, columns))
        except UserError as error:
            raise UserError(f"--data: {row.name}: {str(error).removeprefix('row: ')}") from error
        sources.append(row.name)
    return OtherData((torch.stack(samples), torch.stack(targets)), tuple(sources))


def target_columns(path: Path, columns: Sequence[str], data: TableData) -> list[str]:
    """Return the names of the columns that are no features: those of the targets.

    If there are more than needed and one target is needed, it is the column ``target``.

    Raises:
        UserError: it is not clear which columns are the targets.
    """
    if known := [name for name in data.target_names() if name in columns]:
        return known
    others = [name for name in columns if name not in data.columns()]
    if len(others) == data.num_targets:
        return others
    if data.num_targets == 1 and "target" in others:
        return ["target"]
    found = f"the columns {listed(others)}" if others else "no other column"
    wanted = "one target, called target" if data.num_targets == 1 else f"{data.num_targets} targets and nothing else"
    raise UserError(f"--data: {path} has {found} next to the features; it must have {wanted}")


def read_series(path: Path, data: Series) -> OtherData:
    """Cut the series in a CSV or Parquet file into all their windows, each with the steps that follow it.

    Raises:
        UserError: the file has not the columns of the training, or too few steps.
    """
    try:
        steps = data.read_file(path, "data.path")
    except UserError as error:
        raise UserError(f"--data: {str(error).partition(': ')[2]}") from error
    least = data.window + data.horizon
    starts = steps.starts(least)
    if not len(starts):
        longest = max(steps.lengths)
        raise UserError(f"--data: {path} has {longest} steps, at least {least} are needed (window and horizon)")
    sources = []
    for one in steps.series():
        name = f"{path}: {printable(one.names[0])}," if data.group else f"{path}:"
        sources += [f"{name} step {data.window + start}" for start in one.starts(least).tolist()]
    return OtherData(steps.windows(starts, data.window, data.horizon), tuple(sources))


def folder_name(path: Path) -> str:
    """Return the name under which the evaluation of other data is stored: ``photos``, or ``data-test`` for ``test``."""
    name = re.sub(r"[^\w.-]", "_", path.resolve().name).lstrip(".") or "data"
    return f"data-{name}" if name in RESERVED else name


def listed(names: Sequence[str]) -> str:
    """Return names as text without control characters, shortened."""
    text = ", ".join(printable(name) for name in names)
    return text if len(text) <= MAX_LISTED else f"{text[:MAX_LISTED]}…"
