"""Read .tar.gz archives that may be damaged or hostile."""

import gzip
import itertools
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from leyden.data.file_access import check_regular
from leyden.errors import UserError


def regular_files(
    archive: Path, wanted: Callable[[str], object], max_bytes: int, max_members: int
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the regular files in a .tar.gz archive that are wanted, in the order of the archive.

    Links, devices and folders are passed over. Nothing is written: what a name means is up to the caller.

    Args:
        archive: the archive.
        wanted: whether a file with this name is wanted.
        max_bytes: largest size of all that it unpacks to.
        max_members: largest number of its members; the others are not read.

    Raises:
        UserError: it is missing or damaged, or larger than that.
    """
    check_regular(archive, "data.root")
    try:
        with gzip.open(archive) as file:
            bounded = cast(IO[bytes], BoundedFile(file, max_bytes))
            with tarfile.open(fileobj=bounded, mode="r|") as tar:
                for member in itertools.islice(tar, max_members):
                    if member.isreg() and wanted(member.name) and (content := tar.extractfile(member)) is not None:
                        yield member.name, content.read()
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{archive}: is damaged ({error}); delete the archive") from error


class BoundedFile:
    """A file that raises an error after `limit` bytes, because a small archive can unpack to any size."""

    def __init__(self, file: gzip.GzipFile, limit: int) -> None:
        self.file, self.limit, self.left = file, limit, limit

    def read(self, size: int) -> bytes:
        content = self.file.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise tarfile.ReadError(f"it unpacks to more than {self.limit:,} bytes")
        return content
