"""ImageLogger of a module, drawn after each validation, in the run folder and on TensorBoard."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from leyden.modules.base import BaseModule
from leyden.records.run_folder import writing
from leyden.records.tensorboard import TensorBoard


class ImageLogger(Callback):
    """Writes ``<name>/epoch_0001.png`` for each picture that a `BaseModule` draws.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or not isinstance(pl_module, BaseModule):
            return
        for name, picture in pl_module.images().items():
            write_png(self.folder / name / f"epoch_{trainer.current_epoch + 1:04}.png", picture)
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoard):
                    # At the step of the epoch's metrics, so that a resumed run drops what it will draw again.
                    logger.experiment.add_image(name, picture, trainer.fit_loop.epoch_loop._batches_that_stepped)


def write_png(path: Path, picture: Tensor) -> None:
    """Write a float (C, H, W), 0 to 1, whole or not at all; makes the folder."""
    path.parent.mkdir(exist_ok=True)
    with writing(path) as file:
        to_pil_image(picture.cpu().clamp(0, 1)).save(file, format="png")
