"""Load the trained model of a run folder.

Imports torch only when `load` is called, because `import leyden` imports this file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leyden.modules.base import BaseModule


def load(run_folder: str | Path, plugins: Sequence[str | Path] = ()) -> "BaseModule":
    """Return the trained model of a run: in eval mode, on the CPU, with the weights of its best checkpoint.

        >>> model = leyden.load("logs/runs/mnist-cnn/2026-11-22_12-00-00-1a2b3c4d")
        >>> logits = model(images)  # normalised float (B, C, H, W) → (B, num_classes)

    Args:
        run_folder: a folder that `train.py` created. It may come from a stranger. Nothing in it is executed, and only
            classes of Leyden itself and of `plugins` are built.
        plugins: folders with your own code that the run used.

    Raises:
        UserError: the folder is incomplete or damaged, or its checkpoint does not fit its config.
    """
    import torch

    from leyden.config.builders import build_module, load_weights
    from leyden.config.plugins import load_folder
    from leyden.config.stored import stored_config
    from leyden.records.checkpoint_file import read_checkpoint
    from leyden.records.run_folder import best_checkpoint

    for plugin in plugins:
        load_folder(Path(plugin))
    folder = Path(run_folder).expanduser()
    cfg = stored_config(folder)
    module = build_module(cfg)
    path = best_checkpoint(folder)
    load_weights(module, read_checkpoint(path), path)
    if cfg.trainer.precision == "bf16-true":
        module.to(torch.bfloat16)
    return module.eval()
