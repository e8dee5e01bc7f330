"""Leyden's own loggers: metrics.csv with a row per epoch, and TensorBoard.

Lightning's `CSVLogger` deletes its file when a run is resumed; `MetricsCSV` keeps the rows up to the checkpoint.
"""

import copy
import csv
import io
import re
import threading
import warnings
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn

from leyden.errors import UserError
from leyden.records.run_folder import one_line, write_text

# TensorBoard groups its charts by what is before the first slash, and opens the first two groups: train and val.
TIMES = {"time/images_per_second": "train/images_per_second", "time/train_seconds": "train/seconds"}
MAX_EMBEDDINGS = 10_000  # images in the projector: more do not fit into its sprite


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

    Lightning saves its loggers every 50 steps, also if there is nothing new. Metrics of the test set are no curves:
    they are on the pages TEXT and HPARAMS. The other classes of Leyden read the options below and draw the plots.

    Args:
        folder: the run folder.
        first_step: the step at which a resumed run continues. TensorBoard hides what was logged from this step on.
        every_n_steps: number of optimizer steps between two points of training loss and learning rate.
        plots_every_n_epochs: number of epochs between two confusion matrices, images of errors, and precision-recall
            curves of the validation set. They are also drawn at the end of the training. 0: never.
        histograms: whether to show histograms of the weights, in the same epochs as the plots.
        graph: whether to show the graph of the net.
        embeddings: number of validation images in the projector, at the end of the training. 0: none.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        folder: Path,
        first_step: int = 0,
        every_n_steps: int = 50,
        plots_every_n_epochs: int = 5,
        histograms: bool = False,
        graph: bool = False,
        embeddings: int = 1000,
    ) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps: got {every_n_steps}, must be at least 1")
        if plots_every_n_epochs < 0:
            raise ValueError(f"plots_every_n_epochs: got {plots_every_n_epochs}, must be at least 0 (0: no plots)")
        if not 0 <= embeddings <= MAX_EMBEDDINGS:
            raise ValueError(f"embeddings: got {embeddings}, must be between 0 and {MAX_EMBEDDINGS}")
        super().__init__(folder, name="", version="", default_hp_metric=False, purge_step=first_step or None)
        self.every_n_steps, self.plots_every_n_epochs = every_n_steps, plots_every_n_epochs
        self.histograms, self.graph, self.embeddings = histograms, graph, embeddings
        threading.excepthook = _print_error_of_thread

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        curves = {TIMES.get(name, name): value for name, value in metrics.items() if not _is_no_curve(name)}
        if curves:
            with self.writing():
                super().log_metrics(curves, step)

    @rank_zero_only
    def log_point(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to some curves. It reaches the disk with the next metrics of an epoch, or with `flush`."""
        with self.writing(flush=False):
            for name, value in values.items():
                self.experiment.add_scalar(name, value, step)

    @rank_zero_only
    def flush(self) -> None:
        """Write everything to the disk."""
        with self.writing():
            pass

    @rank_zero_only
    def log_text(self, name: str, text: str, step: int | None = None) -> None:
        """Show `text` (markdown) on the page TEXT."""
        with self.writing():
            self.experiment.add_text(name, text, step)

    @rank_zero_only
    def log_image(self, name: str, image: Tensor, step: int = 0) -> None:
        """Show `image`, float (C, H, W) from 0 to 1, on the page IMAGES."""
        with self.writing():
            self.experiment.add_image(name, image, step)

    @rank_zero_only
    def log_pr_curve(self, name: str, targets: Tensor, scores: Tensor, step: int) -> None:
        """Show how precision and recall depend on the threshold.

        Args:
            name: name of the curve.
            targets: whether a sample has the class, int64 or bool (N,).
            scores: its probability, (N,).
            step: the step to which the curve belongs.
        """
        with self.writing():
            self.experiment.add_pr_curve(name, targets, scores, step)

    @rank_zero_only
    def log_weights(self, net: nn.Module, step: int) -> None:
        """Show a histogram of each weight on the page HISTOGRAMS."""
        with self.writing():
            for name, weight in net.named_parameters():
                self.experiment.add_histogram(f"weights/{name}", weight.detach().float(), step)

    @rank_zero_only
    def log_net(self, net: nn.Module, inputs: Tensor) -> None:
        """Show the graph of `net` for a batch of `inputs` on the page GRAPHS.

        A copy of the net is traced, on the CPU: tracing runs it, which changes the buffers of norms.
        """
        copied, inputs = copy.deepcopy(net).cpu().eval(), inputs.cpu()
        if inputs.is_floating_point():
            inputs = inputs.to(next(copied.parameters()).dtype)
        with self.writing(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch.jit is deprecated, and warns of branches
            self.experiment.add_graph(copied, inputs)

    @rank_zero_only
    def log_layout(self, charts: Mapping[str, Sequence[str]]) -> None:
        """Show charts with several curves each on the page CUSTOM SCALARS: title → names of the curves."""
        # TensorBoard treats the names as regular expressions and shows all curves whose name begins with a match.
        lines = {title: ["Multiline", [f"^{re.escape(name)}$" for name in names]] for title, names in charts.items()}
        with self.writing():
            self.experiment.add_custom_scalars({"training and validation": lines})

    @rank_zero_only
    def log_result(
        self, settings: Mapping[str, Any], best: Mapping[str, float], tested: Mapping[str, float], step: int
    ) -> None:
        """Show the result on the pages HPARAMS and TEXT.

        Args:
            settings: the keys that were set for this run.
            best: the best value of the objective, under the name of its curve.
            tested: metrics of the test set. HPARAMS takes metrics only from curves, so it shows these as columns next
                to the settings. As curves they would be charts with a single point.
            step: the last step of the training.
        """
        plain = (int, float, str, bool)
        shown = {key: value if isinstance(value, plain) else str(value) for key, value in settings.items()}
        rows = "".join(f"| {name} | {value:.6g} |\n" for name, value in {**best, **tested}.items())
        self.log_text("result", f"| metric | value |\n|---|---|\n{rows}")
        with self.writing():
            self.log_hyperparams({**shown, **tested}, dict(best), step=step)

    @contextmanager
    def writing(self, flush: bool = True) -> Iterator[None]:
        """Write what the block adds to the disk, unless `flush` is false. An error of the disk becomes a UserError.

        Lightning hides such an error in a ValueError about the type of the metric.
        """
        try:
            yield
            if flush:
                self.experiment.flush()
        except (OSError, ValueError) as error:
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            raise UserError(f"{self.root_dir}: TensorBoard's events cannot be written ({cause.strerror})") from error

    def save(self) -> None:
        """Do nothing: everything is written already."""


def tensorboards(loggers: Iterable[Logger]) -> list[TensorBoard]:
    """Return those of `loggers` that write for TensorBoard."""
    return [logger for logger in loggers if isinstance(logger, TensorBoard)]


def _is_no_curve(name: str) -> bool:
    """Whether a metric is shown elsewhere: metrics of the test have one value, ``train/lr`` has more points than lr."""
    return name in ("epoch", "lr") or name.startswith("test/")


def _print_error_of_thread(error: threading.ExceptHookArgs) -> None:
    """Print an error that ends a thread, except a disk error in TensorBoard's writer, which `flush` raises again."""
    if isinstance(error.exc_value, OSError) and type(error.thread).__name__ == "_AsyncWriterThread":
        return
    threading.__excepthook__(error)
