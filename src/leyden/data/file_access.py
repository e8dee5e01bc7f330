"""Read files that may be hostile or damaged. A pipe, a device or a huge file gives a one-line error at once."""

import codecs
import os
import stat
from pathlib import Path

from leyden.errors import UserError

GB = 1_000_000_000
CHUNK = 1 << 20  # bytes that are read at a time


def check_regular(path: Path, key: str, limit: int = GB) -> int:
    """Return the size of the file at `path` in bytes.

    Args:
        path: path of the file.
        key: config key to name in an error.
        limit: largest size that is accepted.

    Raises:
        UserError: the file does not exist, is not a regular file or is too large.
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise UserError(f"{key}: there is no file {path}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{key}: cannot read {path} ({error})") from error
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{key}: {path} is not a regular file")
    if found.st_size > limit:
        raise UserError(f"{key}: {path} has {found.st_size:,} bytes, the limit is {limit:,} bytes")
    return found.st_size


def read_bytes(path: Path, key: str, limit: int = GB) -> bytes:
    """Return the content of the file at `path`; the arguments are those of `check_regular`.

    Raises:
        UserError: the file cannot be read.
    """
    size = check_regular(path, key, limit)
    try:
        with path.open("rb") as file:
            return file.read(size)  # not `limit`: Python allocates what it is asked for before it reads
    except OSError as error:
        raise UserError(f"{key}: cannot read {path} ({error.strerror})") from error


def text_encoding(path: Path) -> str:
    """Return the encoding of a text file as `read_text` finds it, without keeping its content in memory.

    A pipe can be read only once, so it must be UTF-8.
    """
    if not path.is_file():
        return "utf-8-sig"
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        file.seek(0)
        try:
            while block := file.read(CHUNK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8-sig"


def read_text(path: Path, key: str, limit: int = GB) -> str:
    """Return the content of a text file in UTF-8, in UTF-16 with a byte order mark, or in Latin-1.

    Raises:
        UserError: the file cannot be read, or is not text.
    """
    content = read_bytes(path, key, limit)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16")
        except UnicodeDecodeError as error:
            raise UserError(f"{key}: {path} is not a text file in UTF-16, as its first two bytes say") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # every sequence of bytes is valid


def read_utf8(path: Path, key: str, limit: int = GB) -> str:
    """Return the content of a text file in UTF-8, or in UTF-16 with a byte order mark. Lines end with ``\\n``.

    Raises:
        UserError: the file cannot be read, has another encoding, or contains NUL characters; the message names a line.
    """
    content = read_bytes(path, key, limit)
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    name, codec = ("UTF-16", "utf-16") if is_utf16 else ("UTF-8", "utf-8-sig")
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        line = 1 + content[: error.start].decode(codec, errors="ignore").count("\n")
        raise UserError(
            f"{key}: line {line} of {path} is not {name} ({error.reason}); save the file in UTF-8"
        ) from error
    if (start := text.find("\0")) >= 0:
        raise UserError(f"{key}: line {1 + text.count(chr(10), 0, start)} of {path} contains a NUL character")
    return text.replace("\r\n", "\n")


def check_memory(num_bytes: int, key: str, value: object) -> None:
    """Raise a ValueError if a value of the config needs more memory than this machine has.

    Args:
        num_bytes: how much memory it needs.
        key: name of the argument.
        value: value of the argument.
    """
    if os.name == "posix" and num_bytes > memory():  # elsewhere the allocation itself fails
        needed, there = num_bytes / GB, memory() / GB
        raise ValueError(f"{key}: got {value}, needs {needed:,.1f} GB of memory, this machine has {there:,.1f} GB")


def memory() -> int:
    """Return the size of the machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
