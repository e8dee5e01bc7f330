"""A run folder → its trained model. Imports torch only when called, since `import leyden` imports this."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule


def load(run_folder: str | Path) -> "LightningModule":
    """The trained model of a run, in eval mode, on the CPU, with the weights of its best checkpoint.

        >>> model = leyden.load("logs/runs/mnist-cnn/2026-11-22_12-00-00-1a2b")
        >>> logits = model(images)  # normalised float (B, C, H, W) → (B, num_classes)

    Args:
        run_folder: a folder that `train.py` made. It may be a stranger's: nothing in it is executed, and
            only classes of Leyden itself are built.

    Raises:
        UserError: the folder is incomplete, or its checkpoint does not fit its config.
    """
    from leyden.config.builders import build_module, load_weights
    from leyden.records.run_folder import best_checkpoint, read_checkpoint, read_config

    folder = Path(run_folder)
    module = build_module(read_config(folder))
    path = best_checkpoint(folder)
    load_weights(module, read_checkpoint(path), path)
    return module.eval()
