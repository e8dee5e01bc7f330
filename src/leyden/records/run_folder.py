"""The run folder: ``logs/runs/<name>/<time>-<suffix>/``, all that a run leaves behind and all that later tools need.

    config.yaml  report.json  metrics.csv  events.out.tfevents.*  checkpoints/best.ckpt  checkpoints/last.ckpt
    origin.json  uncommitted.diff (where the clone differed from its commit)

Imports torch only in functions that need it, since the command line imports this before anything else.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from leyden.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Set by the first process of a run, so that the others of a DDP run join its folder.
FOLDER_VARIABLE = "LEYDEN_RUN_FOLDER"


def parent(logs: str, name: str) -> Path:
    """The folder that holds all runs of `name`, made if need be.

    Raises:
        UserError: it cannot be written.
    """
    folder = Path(logs).resolve() / "runs" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"paths.logs: cannot make {folder} ({error.strerror})") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"paths.logs: cannot write to {folder}")
    return folder


def create(parent: Path) -> Path:
    """A new folder of this run's own: `mkdir` is atomic, so of many runs in one second each gets another."""
    folder = parent / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{secrets.token_hex(2)}"
    try:
        folder.mkdir()
    except FileExistsError:  # another run drew the same name
        return create(parent)
    (folder / "checkpoints").mkdir()
    return folder


def best_checkpoint(folder: Path) -> Path:
    return folder / "checkpoints" / "best.ckpt"


def last_checkpoint(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that becomes `path` when the block ends well: at any time there is the old file or the new one."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write `path` whole or not at all."""
    with writing(path) as file:
        file.write(text.encode())


def save_config(folder: Path, cfg: "DictConfig") -> None:
    """Write the resolved config, from which the run can be repeated and its model built."""
    from omegaconf import OmegaConf

    write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg))


def read_config(folder: Path) -> "DictConfig":
    """The config of a run folder, interpolations not followed: a stranger's config gets to read nothing here.

    Raises:
        UserError: `folder` is no run folder.
    """
    from omegaconf import OmegaConf

    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(f"resume: {folder} is no run folder (it has no config.yaml)")
    values = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(values, dict)
    cfg = OmegaConf.create(values)
    OmegaConf.set_struct(cfg, True)
    return cfg


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The checkpoint at `path`, on the CPU; plain values and tensors only, nothing in it is executed.

    Raises:
        UserError: there is none, or it is damaged.
    """
    import pickle

    import torch

    if not path.is_file():
        raise UserError(f"{path}: does not exist; the run was stopped before its first checkpoint")
    try:
        return cast(dict[str, Any], torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
