"""Measure how fast Leyden is, relative to the code that a user would write without it.

Times depend on the machine and on what else it does; the ratios depend on them much less. Each number is the median of
several repetitions, in which all sides take turns. The images are random, in the shapes of MNIST and CIFAR-10, so
nothing is downloaded.

Examples:
    python scripts/benchmark.py
    python scripts/benchmark.py --only steps --repeat 10
    python scripts/benchmark.py --save          # store the figures of this machine in logs/benchmarks
    python scripts/benchmark.py --compare       # measure again, and show what has become slower
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

import torch
from rich.console import Console

from leyden.config.exit_codes import exit_codes

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.baseline import baseline_file, comparison, read, save  # noqa: E402
from scripts.benchmark_lib.commands import prediction, start_up  # noqa: E402
from scripts.benchmark_lib.feeding import feeding  # noqa: E402
from scripts.benchmark_lib.image_nets import ensembles, steps  # noqa: E402
from scripts.benchmark_lib.language_models import gpt  # noqa: E402
from scripts.benchmark_lib.texts import texts  # noqa: E402

PARTS = {
    "feeding": feeding,
    "steps": steps,
    "ensembles": ensembles,
    "gpt": gpt,
    "texts": texts,
    "start-up": start_up,
    "prediction": prediction,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of each measurement (default: 5)")
    parser.add_argument("--only", choices=PARTS, help="run one part (default: all)")
    parser.add_argument("--save", action="store_true", help="store the figures as the baseline of this machine")
    parser.add_argument("--compare", action="store_true", help="show what is slower than the baseline of this machine")
    args = parser.parse_args()
    with exit_codes():
        measure(args)


def measure(args: argparse.Namespace) -> None:
    path = baseline_file()
    before = read(path) if args.compare else None
    warnings.filterwarnings("ignore")
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"  # Lightning sets it, which slows the plain loop too
    console = Console()
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {args.repeat} repetitions")
    ratios: dict[str, float] = {}
    for name, part in PARTS.items():
        if args.only in (None, name):
            table, found = part(args.repeat)
            console.print(table)
            ratios |= {f"{name}: {measurement}": value for measurement, value in found.items()}
    if before:
        console.print(comparison(ratios, before))
    if args.save:
        save(ratios, path)
        console.print(f"written to {path}")


if __name__ == "__main__":
    main()
