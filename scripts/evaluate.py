"""Evaluate the best checkpoint of a run again. Prints the metrics as JSON.

Examples:
    python scripts/evaluate.py logs/runs/mnist-cnn/2026-11-22_12-00-00-1a2b3c4d
    python scripts/evaluate.py logs/runs/mnist-cnn/2026-11-22_12-00-00-1a2b3c4d --split val
    python scripts/evaluate.py logs/runs/folder-cnn/2026-11-22_12-00-00-1a2b3c4d --data-root other_photos
"""

import argparse
import json
from pathlib import Path

from leyden.config.exit_codes import exit_codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="(default: test)")
    parser.add_argument("--data-root", help="the folder of the data (default: the folder that the run used)")
    parser.add_argument("--data-path", help="the data file, for a series from a CSV file (default: as in the run)")
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, gpu, cuda or mps (default: auto)")
    args = parser.parse_args()
    with exit_codes():
        from leyden.tools.evaluate import evaluate

        metrics = evaluate(args.run, args.split, args.data_root, args.data_path, args.accelerator)
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
