"""Predict any number of inputs. Few of them are in memory at the same time."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from torch import Tensor

from leyden.errors import UserError
from leyden.modules.predictions import Prediction
from leyden.tools.csv_inputs import Input
from leyden.tools.trained_model import BATCH_SIZE, TrainedModel

CHUNK = 32  # inputs per task of a thread

Item = TypeVar("Item")


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
        inputs: see `leyden.tools.input_files.find_inputs`.
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
        return item.error or encode(item.value)
    except UserError as error:
        return str(error)
