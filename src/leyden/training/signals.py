"""What SIGTERM, SIGHUP and Ctrl-C do. Imports no torch: the command line uses this first.

During the training they are noted, and the run stops at the next state that can be saved, see
`leyden.training.checkpoints`. At any other time there is nothing to save: the command line prints one line and ends.
"""

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

from leyden.config.quoting import command, override

# SIGHUP is sent when a terminal is closed. Windows does not have it.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if name in vars(signal))

BLOCKED = 2.0  # seconds that the main thread has to handle a signal

_replaced: dict[int, Any] = {}
_now: tuple[str, Path | None] = ("", None)
_noted = -math.inf  # when a handler of `replace_handlers` was last called, in seconds


def exit_on_signals() -> None:
    """For the command line: a signal prints one line and ends the process.

    The handler raises no exception, because a library that is being imported could catch it. Python calls it only when
    the main thread executes Python. If that is waiting for another process of the run, inside torch, a second thread
    does what the handler would do.
    """
    for signum in SIGNALS:
        signal.signal(signum, _exit)
    received, written = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)  # Python writes the number of each signal into it, at once
    Thread(target=_exit_if_blocked, args=(received,), daemon=True).start()


def _exit_if_blocked(received: int) -> NoReturn:
    """Wait for signals. End the process if the main thread does not handle one in time."""
    while True:
        (signum,) = os.read(received, 1)
        if signum in SIGNALS and signal.getsignal(signum) is _exit:
            time.sleep(BLOCKED)
            if time.monotonic() > _noted + BLOCKED + 1:  # otherwise another handler was there, and has noted it
                _exit(signum, None)


def _exit(signum: int, frame: object) -> NoReturn:
    sys.stdout.flush()
    print(stop_message(signum, *_now), file=sys.stderr, flush=True)
    os._exit(128 + signum)


def announce(when: str, folder: Path | None) -> None:
    """Record what the process is doing, such as "after the training", and the run folder, for the message."""
    global _now
    _now = when, folder


def replace_handlers(handler: Callable[[int, object], None]) -> None:
    """Call `handler` for each signal, until `restore_handlers`."""

    def noting(signum: int, frame: object) -> None:
        global _noted
        _noted = time.monotonic()
        handler(signum, frame)

    for signum in SIGNALS:
        previous = signal.signal(signum, noting)
        _replaced.setdefault(signum, previous)


def restore_handlers() -> None:
    """Use the handlers that were there before `replace_handlers`."""
    for signum, handler in _replaced.items():
        signal.signal(signum, handler)
    _replaced.clear()


@contextmanager
def handling(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Call `handler` for each signal inside of the ``with`` statement."""
    replace_handlers(handler)
    try:
        yield
    finally:
        restore_handlers()


def stop_message(signum: int, when: str, folder: Path | None) -> str:
    """Return the line that says which signal stopped a run, and the command that resumes it."""
    stopped = " ".join(["stopped by", signal.Signals(signum).name, *([when] if when else [])])
    if folder is None:
        return f"{stopped}; nothing was started"
    return f"{stopped}; nothing is lost. Resume with: {command(override('resume', str(folder)))}"
