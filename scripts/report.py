"""Write a run or a sweep as one HTML page, which can be sent and opened without Leyden and without a network.

The page of a run shows its metrics, learning curves, classes, images, configuration and environment. The page of a
sweep shows its trials, which parameters matter, and the command that repeats the best trial.

Examples:
    python scripts/report.py logs/runs/mnist-cnn/RUN
    python scripts/report.py logs/runs/mnist-cnn/RUN --out mnist.html
    python scripts/report.py logs/sweeps/NAME
"""

import argparse
from pathlib import Path

from leyden.config.exit_codes import exit_codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="RUN|SWEEP", help="a run folder, or the folder of a sweep")
    parser.add_argument("--out", type=Path, metavar="FILE.html", help="(default: report.html in the folder)")
    args = parser.parse_args()
    with exit_codes():
        from leyden.config.plugins import load_plugins
        from leyden.tools.report_page import write_page

        load_plugins()  # those of the environment: their choices have names, too
        print(write_page(args.folder, args.out))


if __name__ == "__main__":
    main()
