"""Download a published file from its mirrors into a `.partial` file, verify its checksum, and rename it."""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from leyden.errors import UserError

CHUNK = 1 << 20


def md5(path: Path) -> str:
    """Return the MD5 of the file at `path` in hexadecimal. The authors of the data sets publish MD5 checksums."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def download(name: str, mirrors: Sequence[str], folder: Path, checksum: str, wanted: str) -> Path:
    """Download the file `name` from the first mirror that has it into `folder`.

    An interrupted download leaves ``name.partial``, and the next call continues it.

    Args:
        name: of the file, appended to each mirror.
        mirrors: addresses that end in a slash.
        folder: is created if it does not exist.
        checksum: the published MD5.
        wanted: path of the file that the user could provide instead, for the error message.

    Raises:
        UserError: no mirror answered, or the downloaded file is not the published one.
    """
    target, partial = folder / name, folder / f"{name}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    problems = [] if mirrors else ["data.download=false"]
    for mirror in mirrors:
        try:
            _fetch(mirror + name, partial)
        except (OSError, http.client.HTTPException, ValueError) as error:
            problems.append(f"{mirror}: {error}")
            continue
        if (found := md5(partial)) == checksum:
            return partial.replace(target)
        partial.unlink()
        problems.append(f"{mirror}: MD5 is {found}, published is {checksum}")
    raise UserError(
        f"data.root: {wanted} is missing and it cannot be downloaded ({'; '.join(problems)}). "
        f"Put the file there, give data.mirrors=[ADDRESS/], or use data=digits, which needs no download"
    )


def _fetch(url: str, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the partial file is complete, or its checksum shows that it is not
            return
        raise
    with response:
        resumed = response.status == 206
        size = int(response.headers.get("Content-Length", 0))
        with partial.open("ab" if resumed else "wb") as file:
            _copy(response, file, url.rpartition("/")[2], have if resumed else 0, size)
        if size and partial.stat().st_size < size + (have if resumed else 0):
            raise OSError("the connection ended early; repeat the command to continue the download")


def _copy(response: IO[bytes], file: IO[bytes], name: str, have: int, size: int) -> None:
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns) as progress:
        bar = progress.add_task(name, total=have + size if size else None, completed=have)
        while chunk := response.read(CHUNK):
            file.write(chunk)
            progress.advance(bar, len(chunk))
