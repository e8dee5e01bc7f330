"""Single runs, loading and evaluation use only modules that Windows has, too."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

POSIX_ONLY = ("fcntl", "termios", "pty", "tty", "grp", "pwd", "resource", "syslog", "posix_ipc")

HIDDEN = f"""
import sys
for name in {POSIX_ONLY!r}:
    sys.modules[name] = None  # importing it raises ImportError, as on Windows
import signal
del signal.SIGHUP
"""

RUN_AND_TOOLS = """
from pathlib import Path
import leyden.sweep.job, leyden.tools.compare, hydra_plugins.leyden.plugins
from leyden.cli import main
main()
from leyden.tools.evaluate import evaluate
(config,) = Path(sys.argv[-1].partition("=")[2]).glob("runs/*/*/config.yaml")
print(type(leyden.load(config.parent).module).__name__)
print(evaluate(config.parent, "val"))
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `code` where the modules that only POSIX has cannot be imported."""
    command = [sys.executable, "-W", "ignore", "-c", HIDDEN + code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_a_run_and_the_tools_need_no_module_of_posix(tmp_path: Path) -> None:
    done = python(RUN_AND_TOOLS, "trainer=smoke", "model=mlp", f"paths.logs={tmp_path}")
    assert done.returncode == 0, done.stderr
    loaded, evaluated = done.stdout.splitlines()[-2:]
    assert loaded == "Classifier"
    assert "val/loss" in evaluated


def test_a_sweep_says_that_it_needs_linux_or_macos(tmp_path: Path) -> None:
    code = "from leyden.cli import main; sys.platform = 'win32'; main()"
    done = python(code, "-m", "seed=0,1", f"paths.logs={tmp_path}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: -m: sweeps need ")
    assert "Linux or macOS" in done.stderr
