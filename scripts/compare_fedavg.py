"""Train the recipes for federated averaging on MNIST, and write the table in docs/federated.md.

The rows of McMahan et al. (2017) are the numbers of rounds in table 2 of the paper: its net has padding and 1.7 million
weights, and reaches 99% on the test set. Here the accuracy of each round is that of the validation set; the test set is
read once, at the end. Runs that --logs has already are not trained again.

Examples:
    python scripts/compare_fedavg.py --data-root data
    python scripts/compare_fedavg.py --data-root data --seeds 0
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leyden.records.json_files import read_report
from leyden.records.loggers import read_metrics

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.documents import measured_with, replace_part, spread, table  # noqa: E402
from scripts.results import report  # noqa: E402

DOCUMENT = ROOT / "docs" / "federated.md"
EXPERIMENTS = {"iid": "mnist_fedavg", "by class": "mnist_fedavg_by_class"}
PUBLISHED = {"iid": "34", "by class": "350"}  # rounds to 99%, McMahan et al. (2017), table 2: CNN, E=1, B=10, C=0.1
AT = (5, 10, 20, 50, 100, 200)  # rounds
TARGETS = (0.97, 0.98, 0.99)


@dataclass(frozen=True)
class Measured:
    """What one training reached: the accuracy after each round, that of the test, and seconds of training."""

    rounds: Sequence[float]
    test: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data", help="the folder of the data sets (default: data)")
    parser.add_argument("--logs", default="logs/compare_fedavg", help="(default: logs/compare_fedavg)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="(default: 0)")
    args = parser.parse_args()
    found = {}
    for split, experiment in EXPERIMENTS.items():
        logs = Path(args.logs) / experiment
        words = [f"experiment={experiment}", f"paths.data={args.data_root}", f"paths.logs={logs}"]
        found[split] = [measured(logs, report(logs, words, seed)) for seed in args.seeds]
    text = tables(found)
    print(text)
    footer = measured_with("python scripts/compare_fedavg.py --data-root data", args.seeds)
    replace_part(DOCUMENT, "compare_fedavg.py", f"{text}\n\n{footer}")


def measured(logs: Path, found: Mapping[str, Any]) -> Measured:
    """Return what the run with the report `found` reached."""
    (folder,) = [path.parent for path in logs.glob("runs/*/*/origin.json") if stored_seed(path.parent) == found["seed"]]
    rows = [row["val/acc"] for row in read_metrics(folder / "metrics.csv") if row["val/acc"]]
    return Measured([float(value) for value in rows], found["metrics"]["test/acc"], found["seconds"]["training"])


def stored_seed(folder: Path) -> int | None:
    """Return the seed in the report of a run folder, None if it has none."""
    found = read_report(folder)
    return int(found["seed"]) if found else None


def rounds_to(accuracies: Sequence[float], target: float) -> int | None:
    """Return the number of rounds after which the accuracy first was at least `target`, None if it never was."""
    return next((number + 1 for number, accuracy in enumerate(accuracies) if accuracy >= target), None)


def tables(found: Mapping[str, Sequence[Measured]]) -> str:
    """Return two tables: the accuracy after some rounds, and the number of rounds to some accuracies."""
    heads = ["clients", *(f"round {number}" for number in AT), "test", "training"]
    accuracy = [[split, *(at(runs, number) for number in AT), *end(runs)] for split, runs in found.items()]
    reached = [
        [split, *(needed(runs, target) for target in TARGETS), PUBLISHED[split]] for split, runs in found.items()
    ]
    titles = ["rounds to", *(f"{target:.0%}" for target in TARGETS), "99%, McMahan et al."]
    return f"{table(heads, accuracy)}\n\n{table(titles, reached)}"


def at(runs: Sequence[Measured], number: int) -> str:
    values = [100 * run.rounds[number - 1] for run in runs if len(run.rounds) >= number]
    return f"{spread(values, 2)}%" if len(values) == len(runs) else "–"


def end(runs: Sequence[Measured]) -> tuple[str, str]:
    minutes = statistics.mean(run.seconds for run in runs) / 60
    return f"{spread([100 * run.test for run in runs], 2)}%", f"{minutes:.1f} min"


def needed(runs: Sequence[Measured], target: float) -> str:
    return ", ".join(str(rounds_to(run.rounds, target) or f"over {len(run.rounds)}") for run in runs)


if __name__ == "__main__":
    main()
