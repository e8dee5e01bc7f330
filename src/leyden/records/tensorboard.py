"""What TensorBoard shows of a run beside its curves: config, images as the net sees them, hyperparameters."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torchvision.utils import make_grid

from leyden.data.datamodule import InMemoryData
from leyden.data.images import denormalise

NUM_PICTURES = 64


class TensorBoard(TensorBoardLogger):
    """Lightning's, without the empty hparams.yaml beside the events, and flushed when there is something new.

    Lightning saves its loggers every 50 steps, whether there is or not.
    """

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)
        self.experiment.flush()

    def save(self) -> None:
        """Everything is flushed already."""


@rank_zero_only
def write_first_page(loggers: Sequence[Logger], config: str, data: InMemoryData) -> None:
    """Write the config as text and, where the data is images, a grid of those of the first batch, augmented.

    Args:
        config: as YAML.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoard):
            logger.experiment.add_text("config", f"```yaml\n{config}\n```")
            facts = data.facts()
            if facts.mean and facts.std:
                images, _ = next(iter(data.train_dataloader()))
                grid = make_grid(denormalise(images[:NUM_PICTURES], facts.mean, facts.std), nrow=8, padding=1)
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
