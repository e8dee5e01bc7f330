"""What SIGTERM, SIGHUP and Ctrl-C do. Imports no torch: the command line uses this first.

During the training they are noted, and the run stops at the next state that can be saved, see
`leyden.training.checkpoints`. At any other time there is nothing to save: the command line prints one line and ends.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from leyden.config.quoting import command, override

# SIGHUP is sent when a terminal is closed. Windows does not have it.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if name in vars(signal))

_replaced: dict[int, Any] = {}
_now: tuple[str, Path | None] = ("", None)


def exit_on_signals() -> None:
    """For the command line: a signal prints one line and ends the process.

    The handler raises no exception, because a library that is being imported could catch it.
    """
    for signum in SIGNALS:
        signal.signal(signum, _exit)


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
    for signum in SIGNALS:
        previous = signal.signal(signum, handler)
        _replaced.setdefault(signum, previous)


def restore_handlers() -> None:
    """Use the handlers that were there before `replace_handlers`."""
    for signum, handler in _replaced.items():
        signal.signal(signum, handler)
    _replaced.clear()


def stop_message(signum: int, when: str, folder: Path | None) -> str:
    """Return the line that says which signal stopped a run, and the command that resumes it."""
    stopped = " ".join(["stopped by", signal.Signals(signum).name, *([when] if when else [])])
    if folder is None:
        return f"{stopped}; nothing was started"
    return f"{stopped}; nothing is lost. Resume with: {command(override('resume', str(folder)))}"
