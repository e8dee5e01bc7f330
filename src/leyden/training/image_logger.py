"""Images to look at: the first training batch, and what a generative module generates after each validation."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from leyden.data.datamodule import InMemoryData
from leyden.modules.base import BaseModule
from leyden.records.loggers import tensorboards
from leyden.records.run_folder import writing
from leyden.training.callbacks import ResumePosition

NUM_IMAGES = 64  # of the first batch


class ImageLogger(Callback):
    """Writes ``<name>/epoch_0001.png`` for each image of a module, and shows images in TensorBoard.

    Args:
        folder: the run folder.
        data: the data; if it has images, those of the first batch are shown as the net sees them, after augmentation.
        position: the callback that knows the step at which the metrics of an epoch are logged.
    """

    def __init__(self, folder: Path, data: InMemoryData, position: ResumePosition) -> None:
        self.folder, self.data, self.position = folder, data, position

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        facts = self.data.facts()
        if trainer.global_step or facts.mean is None or facts.std is None or not tensorboards(trainer.loggers):
            return
        images = next(iter(self.data.train_dataloader()))[0][:NUM_IMAGES].cpu()
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (facts.mean, facts.std))
        _show(trainer, "train/images", make_grid((images * std + mean).clamp(0, 1), nrow=8, padding=1), 0)

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or not isinstance(pl_module, BaseModule):
            return
        for name, image in pl_module.images().items():
            write_png(self.folder / name / f"epoch_{trainer.current_epoch + 1:04}.png", image)
            # The step of the epoch's metrics, so that a resumed run replaces what it draws again.
            _show(trainer, name, image, self.position.steps - 1)


def _show(trainer: Trainer, name: str, image: Tensor, step: int) -> None:
    for logger in tensorboards(trainer.loggers):
        logger.log_image(name, image, step)


def write_png(path: Path, image: Tensor) -> None:
    """Write a float image (C, H, W) from 0 to 1, completely or not at all. Creates the folder."""
    path.parent.mkdir(exist_ok=True)
    with writing(path) as file:
        to_pil_image(image.cpu().clamp(0, 1)).save(file, format="png")
