"""Leyden's own loggers: metrics.csv with a row per epoch, and TensorBoard.

Lightning's `CSVLogger` deletes its file when a run is resumed; `MetricsCSV` keeps the rows up to the checkpoint.
"""

import csv
import io
import threading
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from leyden.errors import UserError
from leyden.records.run_folder import one_line, write_text


class MetricsCSV(Logger):
    """Writes metrics.csv: a row for each step at which something was logged, usually once per epoch.

    Args:
        folder: the run folder. Its metrics.csv is replaced as a whole with each row, so it is never incomplete.
        first_step: the step at which the run starts or resumes. Rows from this step on are dropped: they are logged
            again.

    Raises:
        UserError: the file of a resumed run is missing or damaged.
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
        """Do nothing: the hyperparameters are in config.yaml."""

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
    """Return the rows of a metrics.csv as text, missing values as ``""``; no rows if there is no such file.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            if not (row.get("step") or "").isdecimal() or None in row or None in row.values():
                raise ValueError("a row is incomplete")
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: is damaged ({one_line(error)}). Delete it to resume without its rows") from error
    return rows


class TensorBoard(TensorBoardLogger):
    """Lightning's TensorBoardLogger without hparams.yaml. It writes to the disk when there is something new.

    Lightning saves its loggers every 50 steps, also if there is nothing new.

    Args:
        folder: the run folder.
        first_step: the step at which a resumed run continues. TensorBoard hides what was logged from this step on.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        super().__init__(folder, name="", version="", default_hp_metric=False, purge_step=first_step or None)
        threading.excepthook = _print_error_of_thread

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with _writing_events(self.root_dir):
            super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)
            self.experiment.flush()

    @rank_zero_only
    def log_text(self, name: str, text: str) -> None:
        """Show `text` (markdown) on the page TEXT."""
        with _writing_events(self.root_dir):
            self.experiment.add_text(name, text)

    @rank_zero_only
    def log_image(self, name: str, image: Tensor, step: int = 0) -> None:
        """Show `image`, float (C, H, W) from 0 to 1, on the page IMAGES."""
        with _writing_events(self.root_dir):
            self.experiment.add_image(name, image, step)

    @rank_zero_only
    def log_result(self, config: Mapping[str, Any], metrics: Mapping[str, float], step: int) -> None:
        """Show the config with the final metrics on the page HPARAMS."""
        # Each metric is a scalar, too; under its own name it would be another point of its curve.
        final = {f"reached/{name}": value for name, value in metrics.items()}
        with _writing_events(self.root_dir):
            self.log_hyperparams(dict(_flat(config)), final, step=step)

    def save(self) -> None:
        """Do nothing: everything is written already."""


@contextmanager
def _writing_events(folder: str) -> Iterator[None]:
    """Turn an error of the disk into a UserError. Lightning hides it in a ValueError about the type of the metric."""
    try:
        yield
    except (OSError, ValueError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise UserError(f"{folder}: TensorBoard's events cannot be written ({cause.strerror})") from error


def _print_error_of_thread(error: threading.ExceptHookArgs) -> None:
    """Print an error that ends a thread, except a disk error in TensorBoard's writer, which `flush` raises again."""
    if isinstance(error.exc_value, OSError) and type(error.thread).__name__ == "_AsyncWriterThread":
        return
    threading.__excepthook__(error)


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, int | float | str | bool) else str(value)
