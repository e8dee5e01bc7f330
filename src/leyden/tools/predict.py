"""Predict files of any number: images, or rows and series in CSV files. Few of them are in memory at the same time."""

import csv
import glob
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from leyden.data.image_files.listing import EXTENSIONS
from leyden.data.series import read_column
from leyden.errors import UserError
from leyden.modules.predictions import Prediction
from leyden.tools.trained_model import BATCH_SIZE, TrainedModel

CHUNK = 32  # inputs per task of a thread

Item = TypeVar("Item")


@dataclass(frozen=True)
class Input:
    """One input: its name in the output, and the value that `InMemoryData.encode` takes."""

    name: str
    value: Any


@dataclass(frozen=True)
class Result:
    """What became of an input: a prediction, or the reason why there is none."""

    name: str
    prediction: Prediction | None
    error: str = ""


def predict(model: TrainedModel, inputs: Iterable[Input], batch_size: int = BATCH_SIZE) -> Iterator[Result]:
    """Predict inputs in their order. The next batches are decoded in threads while one is computed.

    Args:
        model: a loaded model, see `leyden.load`.
        inputs: see `find_inputs`.
        batch_size: samples that are computed together.

    Yields:
        the result of each input. A broken input has an error instead of a prediction.

    Raises:
        UserError: the model predicts nothing.
    """
    with closing(_encoded(model.data.encode, inputs)) as encoded:
        for batch in batched(encoded, batch_size):
            samples = [sample for _, sample in batch if isinstance(sample, Tensor)]
            found = iter(model.predict_samples(samples) if samples else [])
            for name, sample in batch:
                yield Result(name, next(found)) if isinstance(sample, Tensor) else Result(name, None, sample)


def _encoded(
    encode: Callable[[Any], Tensor], inputs: Iterable[Input]
) -> Generator[tuple[str, Tensor | str], None, None]:
    """Yield the name of each input with its sample, or with the reason why it cannot be read."""

    def work(chunk: Sequence[Input]) -> list[tuple[str, Tensor | str]]:
        return [(item.name, _sample_or_error(encode, item)) for item in chunk]

    waiting: deque[Future[list[tuple[str, Tensor | str]]]] = deque()
    num_threads = os.cpu_count() or 1
    pool = ThreadPoolExecutor(num_threads)
    try:
        for chunk in batched(inputs, CHUNK):
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > num_threads + 2 * BATCH_SIZE // CHUNK:  # two batches ahead of the model
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:  # on Ctrl-C too: otherwise Python waits until all waiting files are decoded
        pool.shutdown(cancel_futures=True)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _sample_or_error(encode: Callable[[Any], Tensor], item: Input) -> Tensor | str:
    try:
        return encode(item.value)
    except UserError as error:
        return str(error)


def find_inputs(model: TrainedModel, arguments: Sequence[str]) -> Iterator[Input]:
    """Return the inputs that the arguments name, for the kind of data that the model was trained on.

    Args:
        model: a loaded model.
        arguments: files, folders or glob patterns. Images: each file, and all images in a folder at any depth. Tables:
            each row of a CSV file. Series: each CSV file; its last steps are the window.

    Raises:
        UserError: an argument names no file.
    """
    kind = model.data.input_kind
    if kind is None:
        model.data.encode(None)  # raises the error that explains it
    extensions = EXTENSIONS if kind == "image" else (".csv",)
    paths = [path for argument in arguments for path in files(argument, extensions)]
    if kind == "row":
        return (row for path in paths for row in rows(path))
    if kind == "series":
        return (Input(str(path), read_column(path, model.config.data.column)) for path in paths)
    return (Input(str(path), path) for path in paths)


def files(argument: str, extensions: Sequence[str]) -> list[Path]:
    """Return the files that an argument names: a file, a folder or a glob pattern.

    Raises:
        UserError: there is none.
    """
    path = Path(argument).expanduser()
    if path.is_dir():
        found = sorted(
            Path(parent, name)
            for parent, _, names in os.walk(path)
            for name in names
            if name.lower().endswith(tuple(extensions)) and not name.startswith(".")
        )
        if not found:
            raise UserError(f"{path}: contains no files that end in {', '.join(extensions)}")
        return found
    if path.exists():
        return [path]
    if found := sorted(Path(match) for match in glob.glob(str(path), recursive=True)):  # noqa: PTH207 (absolute too)
        return [match for match in found if match.is_file()]
    raise UserError(f"{path}: does not exist")


def rows(path: Path) -> Iterator[Input]:
    """Yield the rows of a CSV file as mappings of column names to texts, named by their line.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            for row in reader:
                yield Input(f"{path}:{reader.line_num}", row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
