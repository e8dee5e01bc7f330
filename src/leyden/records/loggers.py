"""metrics.csv: a row per step at which something was logged, which is once per epoch.

Lightning's `CSVLogger` deletes its file when a run is resumed; this one keeps the rows up to the checkpoint.
"""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from leyden.records.run_folder import write_text


class MetricsCSV(Logger):
    """Args:

    folder: gets `metrics.csv`, which is rewritten whole with each row, so it is never half a file.
    first_step: the step the run starts or resumes at; what the file holds from there on is dropped, as
        it will be logged again.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        super().__init__()
        self.path = folder / "metrics.csv"
        self.rows: dict[int, dict[str, Any]] = {
            int(row["step"]): row for row in read_metrics(self.path) if int(row["step"]) < first_step
        }

    @property
    def name(self) -> str:
        return "metrics.csv"

    @property
    def version(self) -> None:
        return None

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """They are in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        assert step is not None
        self.rows.setdefault(step, {"step": step}).update(metrics)
        columns = {name for row in self.rows.values() for name in row} - {"epoch", "step"}
        text = io.StringIO()
        writer = csv.DictWriter(text, ["epoch", "step", *sorted(columns)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows.values())
        write_text(self.path, text.getvalue())


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv as text, missing values as ``""``; no rows if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
