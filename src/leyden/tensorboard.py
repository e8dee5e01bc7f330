"""What TensorBoard shows of a run beside its curves: config, pictures as the net sees them, hyperparameters."""

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torchvision.utils import make_grid

from leyden.data.images import ImageData

NUM_PICTURES = 64


class TensorBoard(TensorBoardLogger):
    """Lightning's, without the empty hparams.yaml that it puts beside the events."""

    @rank_zero_only
    def save(self) -> None:
        self.experiment.flush()


class FirstPage(Callback):
    """Writes the config as text and a grid of augmented training images when a run starts.

    Args:
        config: as YAML.
    """

    def __init__(self, config: str) -> None:
        self.config = config

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step > 0:  # resumed: they are there
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, ImageData)
        images, _ = next(iter(data.train_dataloader()))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoard):
                logger.experiment.add_text("config", f"```yaml\n{self.config}\n```")
                grid = make_grid(data.denormalise(images[:NUM_PICTURES]), nrow=8, padding=1)
                logger.experiment.add_image("train/images", grid)


def log_hyperparameters(trainer: Trainer, config: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Write the config with what it reached, for TensorBoard's HPARAMS page."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoard):
            # Each is a scalar too; under its own name it would be one more point of its curve.
            reached = {f"reached/{name}": value for name, value in metrics.items()}
            logger.log_hyperparams(dict(_flat(config)), reached, step=trainer.global_step)


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, int | float | str | bool) else str(value)
