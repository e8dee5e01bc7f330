"""Write predictions while they are computed: as JSON lines, as CSV, or as a table for the terminal."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO

from leyden.data.datamodule import printable
from leyden.modules.predictions import Prediction
from leyden.tools.predict import Result

WIDTH = 40  # characters of the name of an input in a table


def write_json(results: Iterable[Result], file: TextIO, k: int) -> None:
    """Write a JSON object per input, with the `k` most probable classes. A broken input has the key ``error``."""
    for result in results:
        values = {"error": result.error} if result.prediction is None else result.prediction.as_dict(k)
        print(json.dumps({"input": result.name, **values}, ensure_ascii=False), file=file)


def write_csv(results: Iterable[Result], file: TextIO, k: int) -> None:
    """Write a row per input: its prediction, probability, and the `k` most probable classes as ``name:probability``."""
    rows = csv.writer(file)
    rows.writerow(["input", "prediction", "probability", "top", "error"])
    for result in results:
        found = result.prediction
        if found is None:
            rows.writerow([result.name, "", "", "", result.error])
            continue
        probability = "" if found.probability is None else found.probability
        top = " ".join(f"{name}:{value:.4f}" for name, value in found.top[:k])
        rows.writerow([result.name, words(found, " "), probability, top, ""])


def write_table(results: Iterable[Result], file: TextIO, k: int) -> None:
    """Write a line per input: its name, the prediction, and the `k` most probable classes with their probabilities."""
    for result in results:
        if result.prediction is not None:
            name = printable(result.name)
            name = name if len(name) <= WIDTH else f"…{name[1 - WIDTH :]}"
            top = "  ".join(f"{printable(label)} {value:.1%}" for label, value in result.prediction.top[:k])
            print(f"{name:<{WIDTH}}  {printable(words(result.prediction, ', ')):<14}  {top}".rstrip(), file=file)


def words(prediction: Prediction, separator: str) -> str:
    """Return a prediction as text."""
    values = prediction.prediction
    listed = values if isinstance(values, list) else [values]
    return separator.join(f"{value:.6g}" if isinstance(value, float) else value for value in listed) or "(none)"


@dataclass
class Counts:
    """How many inputs were predicted, and how many are broken."""

    predicted: int = 0
    broken: int = 0

    def count(self, results: Iterable[Result]) -> Iterator[Result]:
        """Yield all results and count them. Print a line on stderr for each broken input."""
        for result in results:
            if result.prediction is None:
                self.broken += 1
                message = result.error if result.name in result.error else f"{result.name}: {result.error}"
                print(f"error: {printable(message)}", file=sys.stderr)
            else:
                self.predicted += 1
            yield result
