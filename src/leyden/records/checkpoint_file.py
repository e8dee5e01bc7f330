"""Checkpoint files: written completely or not at all, verified at every read, plain values and tensors only."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from leyden.errors import UserError
from leyden.records.run_folder import one_line, refuse_link, writing

# Of every checkpoint that Lightning writes.
ENTRIES = {
    "state_dict": dict,
    "epoch": int,
    "global_step": int,
    "loops": dict,
}
# Of last.ckpt and previous.ckpt, and of every checkpoint of Leyden 0.1. best.ckpt does not have them.
RESUME_ENTRIES = {"callbacks": dict, "optimizer_states": list, "lr_schedulers": list}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read the checkpoint at `path` to the CPU. Nothing in it is executed.

    The file is a zip archive with a CRC-32 of each tensor. `torch.load` does not compare them, so that is done here:
    a flipped bit in a weight is an error.

    Raises:
        UserError: there is no such file, it is damaged, or a weight in it is not finite.
    """
    refuse_link(path)
    if not path.is_file():
        raise UserError(f"{path}: does not exist. The run was stopped before its first checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise UserError(f"{path}: is damaged (the checksum of {one_line(ValueError(damaged))} does not match)")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except (pickle.UnpicklingError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read, it is damaged ({one_line(error)})") from error
    except Exception as error:  # a damaged pickle can raise an error of any kind
        raise UserError(f"{path}: cannot be read ({type(error).__name__}: {one_line(error)})") from error
    return checked(checkpoint, path)


def checked(checkpoint: Any, path: Path) -> dict[str, Any]:
    """Return `checkpoint` if it has the entries of a checkpoint and finite weights; `path` is for the message."""
    for name, kind in ENTRIES.items():
        if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(name), kind):
            raise UserError(f"{path}: is not a checkpoint of Leyden (it has no {name})")
    for name, kind in RESUME_ENTRIES.items():
        if name in checkpoint and not isinstance(checkpoint[name], kind):
            raise UserError(f"{path}: is not a checkpoint of Leyden (its {name} must be a {kind.__name__})")
    weights = checkpoint["state_dict"]
    if not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise UserError(f"{path}: is not a checkpoint of Leyden (its state_dict must hold tensors)")
    if "fit_loop" not in checkpoint["loops"]:
        raise UserError(f"{path}: is not a checkpoint of Leyden (its loops have no fit_loop)")
    for name, weight in weights.items():
        if weight.numel() * weight.element_size() > weight.untyped_storage().nbytes():
            raise UserError(f"{path}: the weight {one_line(ValueError(name))} claims more values than the file holds")
        if weight.is_floating_point() and not weight.isfinite().all():
            raise UserError(f"{path}: the weight {one_line(ValueError(name))} is not finite (NaN or infinity)")
    return checkpoint  # type: ignore[no-any-return]


def check_resumable(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Raise UserError if a run cannot resume from `checkpoint`, because it is a copy of best.ckpt."""
    for name in RESUME_ENTRIES:
        if name not in checkpoint:
            raise UserError(f"{path}: cannot be resumed from, because it has no {name}. Is it a copy of best.ckpt?")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a partial file and renames it. Reads it as `read_checkpoint` does."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with writing(Path(path)) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # torch's writer notices only that bytes are missing. The error of the full disk is what came before.
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        return read_checkpoint(Path(path))
