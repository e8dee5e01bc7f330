"""Run a command of train.py and write its output as docs/terminal.svg, the image in the README.

Examples:
    python scripts/screenshot.py
    python scripts/screenshot.py --out cnn.svg data=mnist model=cnn trainer.max_epochs=3
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 100  # characters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "terminal.svg", help="(default: docs/terminal.svg)")
    parser.add_argument("overrides", nargs="*", default=["trainer.max_epochs=5"], help="KEY=VALUE of the run")
    args = parser.parse_args()
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere)
        console.print(Text.assemble(("$ ", "green"), ("python train.py " + " ".join(args.overrides), "bold")))
        console.print(Text(train(args.overrides)))
    console.save_svg(str(args.out), title="Leyden")
    print(args.out)


def train(overrides: list[str]) -> str:
    """Return what the run prints. The temporary folder of the logs is printed as ``logs``."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), f"paths.logs={folder}", *overrides]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"COLUMNS": str(WIDTH)}, capture_output=True, text=True, check=True
        )
        return done.stdout.replace(str(Path(folder).resolve()), "logs").rstrip()


if __name__ == "__main__":
    main()
