"""The files of an evaluation: tables, plots and metrics.json, and what is known about them."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from leyden.data.datamodule import printable
from leyden.records.run_folder import write_text
from leyden.tools.evaluated import Evaluated
from leyden.tools.evaluator import Evaluator


@dataclass(eq=False)
class Report:
    """The files of one evaluation, and what is written into them.

    Args:
        evaluator: the loaded run.
        found: the result of the evaluation.
        folder: where the files are written. It exists.
        paths: the files that were written.
        notes: a line for each file that does not apply, and why.
        entries: more entries of metrics.json.
    """

    evaluator: Evaluator
    found: Evaluated
    folder: Path
    paths: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    entries: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The beginning of each heading, for example "mnist-cnn on test (10,000 samples)"."""
        samples = f"{len(self.found.targets):,} samples"
        return f"{printable(str(self.evaluator.config.name))} on {printable(self.found.name)} ({samples})"

    def named_outputs(self) -> dict[str, Tensor]:
        """Return what the outputs of all samples mean, on the CPU; see `BaseModule.named_outputs`."""
        module, outputs = self.evaluator.module, self.found.outputs
        assert outputs is not None
        named = module.named_outputs(outputs.to(module.device), self.found.inputs)
        return {name: values.cpu() for name, values in named.items()}

    def draw(self, name: str, plot: Callable[..., None], *arguments: Any, **options: Any) -> None:
        """Call `plot` with the path of the file `name`."""
        path = self.folder / name
        plot(path, *arguments, **options)
        self.paths.append(path)

    def write_csv(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write a CSV file, completely or not at all."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        write_text(self.folder / name, text.getvalue())
        self.paths.append(self.folder / name)

    def write_predictions(self, header: Sequence[str], columns: Sequence[Sequence[Any]]) -> None:
        """Write predictions.csv: a row per sample with its index, `columns`, and its source if it has one."""
        sources = self.found.sources
        extra = [[printable(source) for source in sources]] if sources else []
        rows = zip(range(len(self.found.targets)), *columns, *extra, strict=True)
        self.write_csv("predictions.csv", ["index", *header, *(["source"] if sources else [])], rows)

    def write_metrics(self) -> None:
        """Write metrics.json. A number that is not finite becomes null."""
        values = {
            "split": self.found.name,
            "samples": len(self.found.targets),
            "metrics": self.found.metrics,
            **self.entries,
            "precision": self.evaluator.config.trainer.precision,
            "device": self.evaluator.device_name,
        }
        write_text(self.folder / "metrics.json", json.dumps(finite(values), indent=2, ensure_ascii=False) + "\n")
        self.paths.insert(0, self.folder / "metrics.json")


def finite(value: Any) -> Any:
    """Return plain values in which each number that is not finite is None, because JSON has no such numbers."""
    if isinstance(value, dict):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def images_of(report: Report) -> Tensor | None:
    """Return the inputs if they are images that can be shown, uint8 (N, C, H, W) with 1 or 3 channels."""
    inputs = report.found.inputs
    return inputs if inputs.dim() == 4 and inputs.shape[1] in (1, 3) else None
