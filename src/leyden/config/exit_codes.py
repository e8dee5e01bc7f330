"""Print an expected error as one line on stderr, and exit with its code. Imports no torch."""

import os
import re
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from hydra.errors import CompactHydraException
from omegaconf.errors import OmegaConfBaseException

from leyden.config.compose import explain
from leyden.errors import DivergedError, StoppedError, TrialsFailedError, UserError
from leyden.records.processes import is_first_process

WAIT_FOR_RANK_0 = 10  # seconds
READER_HAS_ENDED = 141  # what a shell reports for a program that SIGPIPE ended


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn an expected error into one line on stderr and its exit code. A defect of Leyden keeps its traceback."""
    try:
        yield
    except (UserError, DivergedError, TrialsFailedError) as error:
        _exit(f"error: {error}", error.exit_code)
    except StoppedError as error:
        _exit(str(error), error.exit_code)
    except KeyboardInterrupt:
        _exit("stopped by SIGINT", 130)
    except CompactHydraException as error:
        _exit(f"error: {explain(error, sys.argv[1:])}", UserError.exit_code)
    except OmegaConfBaseException as error:
        _exit(f"error: {' '.join(str(error).split())}", UserError.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _discard_output():
            raise SystemExit(READER_HAS_ENDED) from None
        _exit(f"error: {_os_error(error)}", UserError.exit_code)
    except (MemoryError, RuntimeError) as error:
        if message := out_of_memory(error):
            _exit(f"error: {message}", UserError.exit_code)
        raise


def out_of_memory(error: MemoryError | RuntimeError) -> str:
    """Return one line for an error of an allocation, or an empty string for any other error.

    torch raises a RuntimeError. Only its message says that memory is missing, and how much: in bytes on the CPU, in GiB
    on a GPU.
    """
    text = " ".join(str(error).split())
    if not isinstance(error, MemoryError) and not re.search(
        r"out of memory|can't allocate memory|not enough memory|bad_alloc|ALLOC_FAILED", text
    ):
        return ""
    size = re.search(r"allocate ([\d.]+ [KMGT]?i?B|\d+ bytes)", text)
    needed = f"{size[1]} more were needed" if size else "an allocation failed"
    if size and size[1].endswith(" bytes"):
        needed = f"{int(size[1].split()[0]) / 1e9:.3g} GB more were needed"
    return (
        f"the memory is full: {needed}. Choose a smaller data.batch_size or data.eval_batch_size, or a smaller model "
        "(the sizes and the number of layers in model.*)"
    )


def _discard_output() -> bool:
    """Return whether the program that reads stdout has ended, as ``| head`` does. Then discard what is still printed.

    Otherwise Python would print an error when it flushes stdout at its end.
    """
    if sys.platform == "win32":  # it has no poll
        return False
    state, output = select.poll(), sys.stdout.fileno()
    state.register(output, 0)
    if not state.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _os_error(error: OSError) -> str:
    """Return one line for an error of the file system: no space, no permission, a deleted folder."""
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{where}{error.strerror or error}"


def _exit(message: str, code: int) -> NoReturn:
    if not is_first_process():
        # Rank 0 of a DDP run usually has the same error, reports it and ends this process, too. If only this process
        # has it, this one reports it; the exit code makes Lightning end rank 0, which would wait for it forever.
        time.sleep(WAIT_FOR_RANK_0)
    printable = "".join(character if character.isprintable() or character == "\n" else "?" for character in message)
    print(printable, file=sys.stderr)
    raise SystemExit(code)
