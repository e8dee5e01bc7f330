"""The run folder ``logs/runs/<name>/<time>-<suffix>/``: its paths, its lock, and how its files are written and read.

    config.yaml   report.json   metrics.csv   events.out.tfevents.*   origin.json
    checkpoints/best.ckpt   checkpoints/last.ckpt   checkpoints/previous.ckpt
    tokenizer.json (if the data are texts)
    uncommitted.diff (if the clone differed from its commit)

A run folder may come from a stranger. So nothing here follows a link out of the folder, resolves an interpolation
or unpickles an object. This file imports torch only inside functions, because the command line imports it first.
"""

import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import yaml
from filelock import FileLock, Timeout

from leyden.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Rank 0 of a run sets this variable, so that the other processes of the run use the same folder.
FOLDER_VARIABLE = "LEYDEN_RUN_FOLDER"

LOCK = ".running.lock"
MAX_CONFIG_BYTES = 1 << 20
MAX_TEXT_BYTES = 1 << 26

_held: dict[Path, FileLock] = {}


def parent(logs: str, name: str) -> Path:
    """Return the folder that holds all runs of `name`; create it if necessary.

    Raises:
        UserError: the folder cannot be created or written.
    """
    folder = Path(logs).expanduser().resolve() / "runs" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"paths.logs: cannot create {folder} ({error.strerror})") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"paths.logs: cannot write to {folder}")
    return folder


def new_path(parent: Path) -> Path:
    """Return a path for a new run. It has a random suffix, so runs that start in the same second do not collide."""
    return parent / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{secrets.token_hex(4)}"


def create(folder: Path) -> None:
    """Create `folder` with an empty ``checkpoints`` folder, and lock it. It is an error if `folder` exists."""
    folder.mkdir()
    lock(folder)
    (folder / "checkpoints").mkdir()
    sync_directory(folder)


def lock(folder: Path, *, wait: bool = False) -> None:
    """Lock `folder` until this process ends, also if it is killed. Locking it twice in one process is allowed.

    Args:
        folder: a run folder.
        wait: wait for the other process instead of raising an error.

    Raises:
        UserError: another process works in `folder`.
    """
    folder = folder.resolve()
    if folder in _held:
        return
    path = folder / LOCK
    refuse_link(path)
    file_lock = FileLock(path)
    try:
        file_lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise UserError(f"{folder}: another process is working in this run folder. Wait until it has ended") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot lock the run folder ({error.strerror})") from error
    _held[folder] = file_lock


def unlock(folder: Path) -> None:
    """Release the lock of `folder`, for processes that continue after the run, such as notebooks."""
    if held := _held.pop(folder.resolve(), None):
        held.release()


def best_checkpoint(folder: Path) -> Path:
    """The checkpoint of the best epoch."""
    return folder / "checkpoints" / "best.ckpt"


def last_checkpoint(folder: Path) -> Path:
    """The checkpoint from which a stopped run resumes."""
    return folder / "checkpoints" / "last.ckpt"


def previous_checkpoint(folder: Path) -> Path:
    """The checkpoint before the last one. A run resumes from it if last.ckpt is damaged."""
    return folder / "checkpoints" / "previous.ckpt"


def refuse_link(path: Path) -> None:
    """Raise UserError if `path` is a symbolic link: the data would be written to another place."""
    if path.is_symlink():
        raise UserError(f"{path}: is a symbolic link. Leyden does not write through links; replace it by a real file")


def check_folder(folder: Path) -> None:
    """Check that `folder` is a run folder whose parts are real files and folders.

    Raises:
        UserError: it has no config.yaml, or a part of it is a link, a pipe or a device.
    """
    try:
        if not stat.S_ISDIR(folder.stat().st_mode) or not os.path.lexists(folder / "config.yaml"):
            raise UserError(f"{folder}: is not a run folder (it has no config.yaml)")
        for place in (folder, folder / "checkpoints"):
            for path in sorted(place.iterdir()) if place.is_dir() else ():
                mode = path.lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    kind = "a symbolic link" if stat.S_ISLNK(mode) else "a special file"
                    raise UserError(f"{path}: is {kind}. The parts of a run folder must be real files")
    except FileNotFoundError:
        raise UserError(f"{folder}: is not a run folder (it does not exist)") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from error


def partial_path(path: Path) -> Path:
    """Return the name that a file has until it is complete."""
    return path.with_name(f"{path.name}.partial")


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Open a new binary file that replaces `path` when the block ends without an error.

    At any time there is the old file or the complete new one, also after a power cut. The block writes to
    ``<name>.partial``, which is created exclusively, so a link that was left under this name is not followed.
    """
    partial = partial_path(path)
    refuse_link(path)
    try:
        partial.unlink(missing_ok=True)  # left behind by a process that was killed
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(partial, flags, 0o666), "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def sync_directory(folder: Path) -> None:
    """Write the names in `folder` to the disk: without this a power cut can undo a rename. Windows cannot do it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_text(path: Path) -> str:
    """Return the text of a file of a run folder, which may come from a stranger.

    Raises:
        UserError: it does not exist, is a link or no file, is larger than `MAX_TEXT_BYTES`, or is not UTF-8.
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path}: must be a real file, not a link, a folder or a special file")
        if status.st_size > MAX_TEXT_BYTES:
            raise UserError(f"{path}: is larger than {MAX_TEXT_BYTES >> 20} MB, so it was not written by Leyden")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: does not exist, but the model of this run needs it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)})") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, completely or not at all."""
    with writing(path) as file:
        file.write(text.encode())


def save_config(folder: Path, cfg: "DictConfig") -> None:
    """Write the resolved config. It is sufficient to repeat the run and to build its model."""
    from omegaconf import OmegaConf

    write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg))


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads YAML without aliases: a few of them can expand to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("it contains an alias")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


# YAML 1.1 takes 1e-3 for a string, because it has no dot. Hydra takes it for a number, and so do we.
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_config(folder: Path) -> "DictConfig":
    """Read the config of a run folder. Interpolations, aliases and tags are rejected: it may come from a stranger.

    Raises:
        UserError: `folder` is not a run folder, or its config cannot be read.
    """
    check_folder(folder)
    path = folder / "config.yaml"
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise UserError(f"{path}: is larger than 1 MB, so it is not a config of Leyden")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)})") from error
    return parse_config(text, path)


def parse_config(text: str, path: Path) -> "DictConfig":
    """Return the config in `text`, which comes from the file at `path`. See `read_config`."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        if "${" in text:
            raise UserError(f"{path}: contains an interpolation, ${{…}}, which a stored config must not have")
        values = yaml.load(text, _PlainLoader)
        if not isinstance(values, dict):
            raise UserError(f"{path}: is not a config, which is a mapping of keys to values")
        cfg = OmegaConf.create(values)
    except (yaml.YAMLError, RecursionError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)})") from error
    OmegaConf.set_struct(cfg, True)
    return cfg


def one_line(error: BaseException) -> str:
    """Return the text of `error` in one line, without control characters, at most 200 characters long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(character if character.isprintable() else "?" for character in text)[:200]
