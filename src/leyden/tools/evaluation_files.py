"""Write what an evaluation found: ``RUN/evaluation/<split>/`` with metrics, tables and plots."""

from collections.abc import Callable
from pathlib import Path

from leyden.errors import UserError
from leyden.modules.autoencoder import Autoencoder
from leyden.modules.base import BaseModule
from leyden.modules.classifier import Classifier
from leyden.modules.clip import CLIP
from leyden.modules.forecaster import Forecaster
from leyden.modules.generative import GenerativeModule
from leyden.modules.multilabel import Multilabel
from leyden.modules.regressor import Regressor
from leyden.modules.transcriber import Transcriber
from leyden.modules.translator import Translator
from leyden.records.run_folder import refuse_link
from leyden.tools import class_reports, image_reports, number_reports, text_reports
from leyden.tools.evaluated import Evaluated
from leyden.tools.evaluation_report import Report
from leyden.tools.evaluator import Evaluator


def write_evaluation(evaluator: Evaluator, found: Evaluated) -> Report:
    """Write all files that apply to the task of a run into ``evaluation/<name>/`` of its folder.

    Raises:
        UserError: the folder cannot be written, or a part of it is a link.
    """
    report = Report(evaluator, found, evaluation_folder(evaluator.folder, found.name))
    write_task(evaluator.module)(report)
    report.write_metrics()
    return report


def write_task(module: BaseModule) -> Callable[[Report], None]:
    """Return the function that writes the tables and plots of the task of `module`."""
    writers: dict[type[BaseModule], Callable[[Report], None]] = {
        Classifier: class_reports.classification,
        Multilabel: class_reports.multilabel,
        Regressor: number_reports.regression,
        Forecaster: number_reports.forecasting,
        Transcriber: image_reports.transcription,
        Translator: text_reports.translation,
        CLIP: image_reports.retrieval,
        Autoencoder: image_reports.autoencoder,
        GenerativeModule: image_reports.generative,
    }
    return next((write for kind, write in writers.items() if isinstance(module, kind)), only_metrics)


def only_metrics(report: Report) -> None:
    """Note that a task of a plugin has no tables and plots."""
    report.notes.append(f"tables and plots: there are none for {type(report.evaluator.module).__name__}")


def evaluation_folder(run: Path, name: str) -> Path:
    """Return the folder ``evaluation/<name>`` of a run folder. It is created if necessary.

    Raises:
        UserError: a part of the path is a link or a file, or cannot be created.
    """
    folder = run
    for part in ("evaluation", name):
        folder = folder / part
        refuse_link(folder)
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: cannot be created ({error.strerror}). --no-files writes nothing") from error
    return folder
