"""Single runs, loading and evaluation use only modules that Windows has, too."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, only_run

POSIX_ONLY = ("fcntl", "termios", "pty", "tty", "grp", "syslog", "posix_ipc")

HIDDEN = f"""
import sys
for name in {POSIX_ONLY!r}:
    sys.modules[name] = None  # importing it raises ImportError, as on Windows
import signal
del signal.SIGHUP
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `code` where the modules that only POSIX has cannot be imported."""
    command = [sys.executable, "-W", "ignore", "-c", HIDDEN + code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_a_run_and_the_tools_need_no_module_of_posix(tmp_path: Path) -> None:
    done = python("from leyden.cli import main; main()", "trainer=smoke", "model=mlp", f"paths.logs={tmp_path}/logs")
    assert done.returncode == 0, done.stderr
    folder = only_run(tmp_path)
    loaded = python(f"import leyden; print(type(leyden.load({str(folder)!r}).module).__name__)")
    assert loaded.stdout.strip() == "Classifier", loaded.stderr
    evaluated = python(f"from leyden.tools.evaluate import evaluate; print(evaluate({str(folder)!r}, 'val'))")
    assert "val/loss" in evaluated.stdout, evaluated.stderr


def test_a_sweep_says_that_it_needs_linux_or_macos(tmp_path: Path) -> None:
    code = "from leyden.cli import main; sys.platform = 'win32'; main()"
    done = python(code, "-m", "seed=0,1", f"paths.logs={tmp_path}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: -m: sweeps need ")
    assert "Linux or macOS" in done.stderr
