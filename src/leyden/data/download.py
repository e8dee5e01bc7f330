"""Download a published file from its mirrors into a `.partial` file, verify its checksum, and rename it."""

import hashlib
import http.client
import os
import stat
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from leyden.errors import UserError
from leyden.records.run_folder import sync_directory

CHUNK = 1 << 20


class Published(NamedTuple):
    """A file as its authors published it."""

    size: int  # bytes
    md5: str


def md5(path: Path) -> str:
    """Return the MD5 of the file at `path` in hexadecimal. The authors of the data sets publish MD5 checksums."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def download(name: str, mirrors: Sequence[str], folder: Path, published: Published, wanted: str) -> Path:
    """Download the file `name` from the first mirror that has it into `folder`.

    An interrupted download leaves ``name.partial``, and the next call continues it. Never more than the published size
    is accepted.

    Args:
        name: name of the file; it is appended to each mirror.
        mirrors: addresses that end in a slash.
        folder: the folder for the file. It is created if it does not exist.
        published: size and checksum of the file.
        wanted: path of the file that the user could provide instead, for the error message.

    Raises:
        UserError: no mirror answered, or the downloaded file is not the published one.
    """
    target, partial = folder / name, folder / f"{name}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    problems = [] if mirrors else ["data.download=false"]
    for mirror in mirrors:
        try:
            _fetch(mirror + name, partial, published.size)
        except (OSError, http.client.HTTPException, ValueError) as error:
            problems.append(f"{mirror}: {error}")
            continue
        if (found := md5(partial)) == published.md5:
            partial.replace(target)
            sync_directory(folder)
            return target
        partial.unlink()
        problems.append(f"{mirror}: MD5 is {found}, published is {published.md5}")
    raise UserError(
        f"data.root: {wanted} is missing and it cannot be downloaded ({'; '.join(problems)}). "
        f"Put the file there, give data.mirrors=[ADDRESS/], or use data=digits, which needs no download"
    )


def _fetch(url: str, partial: Path, size: int) -> None:
    """Download `url` into `partial`. If `partial` contains the start of the file, download only the rest."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("the address must start with http:// or https://")
    have = _usable(partial)
    if have >= size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=30) as response:
        have = have if response.status == 206 else 0
        announced = int(response.headers.get("Content-Length", size - have))
        if announced > size - have:
            raise OSError(f"it offers {have + announced:,} bytes, published are {size:,}")
        if not have:
            partial.unlink(missing_ok=True)
        with os.fdopen(_open_partial(partial, new=not have), "ab") as file:
            done = have + _copy(response, file, url.rpartition("/")[2], have, size)
            file.flush()
            os.fsync(file.fileno())
    if done < size:
        raise OSError("the connection ended early, run the command again to continue")


def _usable(partial: Path) -> int:
    """Return the size of the partial file. Remove it if it is a link or not a regular file; links are not followed."""
    try:
        found = partial.lstat()
    except FileNotFoundError:
        return 0
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        return found.st_size
    partial.unlink()
    return 0


def _open_partial(partial: Path, new: bool) -> int:
    """Open the partial file for appending, without following a link. A `new` file must not exist."""
    only_new = os.O_CREAT | os.O_EXCL if new else 0
    flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.open(partial, flags | only_new, 0o666)


def _copy(response: IO[bytes], file: IO[bytes], name: str, have: int, size: int) -> int:
    """Copy at most `size` - `have` bytes of `response` to `file`. Return the number of copied bytes."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    done = 0
    with Progress(*columns) as progress:
        bar = progress.add_task(name, total=size, completed=have)
        while chunk := response.read(min(CHUNK, size - have - done)):
            file.write(chunk)
            done += len(chunk)
            progress.advance(bar, len(chunk))
    return done
