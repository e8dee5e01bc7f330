"""Load the trained model of a run folder.

Imports torch only when `load` is called, because `import leyden` imports this file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from leyden.modules.base import BaseModule
    from leyden.tools.trained_model import TrainedModel


def load(run_folder: str | Path, plugins: Sequence[str | Path] = (), member: int | None = None) -> "TrainedModel":
    """Return the trained model of a run with its preprocessing. It accepts raw inputs. The data set is not needed.

        >>> model = leyden.load("logs/runs/mnist-cnn/2026-11-22_12-00-00-1a2b3c4d")
        >>> model.predict(["seven.png"])[0].prediction
        '7'

    Args:
        run_folder: a folder that `train.py` created, or a .safetensors file that `scripts/export.py` wrote. It may
            come from a stranger. Nothing in it is executed, and only classes of Leyden itself and of `plugins` are
            built.
        plugins: folders with your own code that the run used.
        member: number of one net of an ensemble, from 0. None: the ensemble, which combines the outputs of all.

    Raises:
        UserError: the folder is incomplete or damaged, its checkpoint does not fit its config, or there is no
            such member.
    """
    from leyden.config.plugins import load_folder
    from leyden.config.stored import loaded_config, naming_config
    from leyden.tools.safetensors_file import load_safetensors
    from leyden.tools.trained_model import TrainedModel

    for plugin in plugins:
        load_folder(Path(plugin))
    folder = Path(run_folder).expanduser()
    if folder.suffix == ".safetensors" and not folder.is_dir():
        model = load_safetensors(folder)
    else:
        cfg = loaded_config(folder)
        with naming_config(folder):
            model = TrainedModel(folder, cfg, load_module(folder, cfg))
    return model if member is None else model.member(member)


def load_module(folder: Path, cfg: "DictConfig") -> "BaseModule":
    """Return the LightningModule of a run: in eval mode, on the CPU, with the weights of its best checkpoint.

    Args:
        folder: the run folder.
        cfg: its config, see `leyden.config.stored.loaded_config`.

    Raises:
        UserError: the checkpoint is missing or damaged, or does not fit the config.
    """
    from leyden.config.builders import trained_module
    from leyden.records.checkpoint_file import read_checkpoint
    from leyden.records.run_folder import best_checkpoint
    from leyden.training.allocator import keep_freed_memory

    keep_freed_memory()
    path = best_checkpoint(folder)
    return trained_module(cfg, read_checkpoint(path), path)
