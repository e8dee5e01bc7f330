"""Texts to read: what a language model or a translator writes after each validation."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from leyden.data.characters import RunningText
from leyden.data.datamodule import InMemoryData
from leyden.modules.language_model import LanguageModel
from leyden.modules.translator import Translator
from leyden.records.loggers import tensorboards
from leyden.records.run_folder import write_text
from leyden.training.callbacks import ResumePosition

FOLDER = "samples"


class TextLogger(Callback):
    """Writes ``samples/epoch_0001.txt`` with the texts that a model writes, and shows them in TensorBoard.

    A language model generates texts; their random numbers are the same in each epoch, and in a run that was resumed.
    A translator translates a few texts of the validation set.

    Args:
        folder: the run folder.
        data: the data; texts are decoded by its tokenizer.
        position: the callback that knows the step at which the metrics of an epoch are logged.
    """

    def __init__(self, folder: Path, data: InMemoryData, position: ResumePosition) -> None:
        self.folder, self.data, self.position = folder, data, position

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or not (texts := self._texts(pl_module)):
            return
        (self.folder / FOLDER).mkdir(exist_ok=True)
        path = self.folder / FOLDER / f"epoch_{trainer.current_epoch + 1:04}.txt"
        write_text(path, joined(texts))
        for logger in tensorboards(trainer.loggers):
            # The step of the epoch's metrics, so that a resumed run replaces what it writes again.
            logger.log_text("samples", as_markdown(texts), self.position.steps - 1)

    def _texts(self, module: LightningModule) -> list[str]:
        if isinstance(module, Translator):
            return module.texts()
        data = self.data
        if isinstance(module, LanguageModel) and isinstance(data, RunningText) and module.num_samples:
            rows = module.continued(data.prompt(""), module.num_samples, module.sample_length)
            return [data.continued("", row) for row in rows]
        return []


def joined(texts: list[str]) -> str:
    """Return several texts as one; a line with the number of each comes before it, unless there is only one."""
    if len(texts) == 1:
        return f"{texts[0]}\n"
    return "\n".join(f"=== {number} ===\n{text}\n" for number, text in enumerate(texts, 1))


def as_markdown(texts: list[str]) -> str:
    """Return texts as blocks of code, in which Markdown changes nothing."""
    return "\n\n---\n\n".join("\n".join(f"    {line}" for line in text.split("\n")) for text in texts)
