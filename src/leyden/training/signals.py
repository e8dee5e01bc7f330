"""What SIGTERM, SIGHUP and Ctrl-C do. Imports no torch: the command line uses this first."""

import signal
from pathlib import Path
from typing import NoReturn

from leyden.config.quoting import command, override
from leyden.errors import StoppedError

# SIGHUP is sent when a terminal is closed. Windows does not have it.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if name in vars(signal))


def raise_on_signals(when: str = "", folder: Path | None = None) -> None:
    """Raise StoppedError when a signal arrives after this call. A second signal ends the process at once.

    Args:
        when: what the process is doing, for the message, such as "during the test".
        folder: the run folder, if there is one: the message says how to resume it.
    """

    def handler(signum: int, frame: object) -> NoReturn:
        signal.signal(signum, signal.SIG_DFL)
        raise StoppedError(stop_message(signum, when, folder), signum)

    for signum in SIGNALS:
        signal.signal(signum, handler)


def stop_message(signum: int, when: str, folder: Path | None) -> str:
    """Return the line that says which signal stopped a run, and the command that resumes it."""
    stopped = " ".join(["stopped by", signal.Signals(signum).name, *([when] if when else [])])
    if folder is None:
        return f"{stopped}; no run folder was created"
    return f"{stopped}; nothing is lost. Resume with: {command(override('resume', str(folder)))}"
