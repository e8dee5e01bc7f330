"""Pretrain without labels, then train with few labels, from scratch and from the pretrained net; write docs/models.md.

Each seed chooses other labels, and has its own pretraining. Runs that --logs has already are not trained again, so the
script can be stopped and started again.

Examples:
    python scripts/compare_labels.py --data-root data
    python scripts/compare_labels.py --data-root data --name cifar10 --seeds 0
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leyden.records.json_files import read_report
from leyden.records.loggers import read_metrics

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.documents import measured_with, replace_part, spread, table  # noqa: E402
from scripts.results import report  # noqa: E402

DOCUMENT = ROOT / "docs" / "models.md"


@dataclass(frozen=True)
class Comparison:
    """Two recipes: the pretraining, and the training with few labels.

    Args:
        labels: how the document calls the labels.
        pretraining: name of an experiment.
        training: name of an experiment.
    """

    labels: str
    pretraining: str
    training: str


COMPARISONS = {
    "mnist": Comparison("MNIST, 100 labels", "mnist_simclr", "mnist_100"),
    "cifar10": Comparison("CIFAR-10, 1% of the labels", "cifar10_simclr", "cifar10_labels"),
}
VARIANTS = ("augment=false", "augment=true")
CURVE = ("val/knn_acc", "val/probe_acc")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data", help="the folder of the data sets (default: data)")
    parser.add_argument("--name", choices=COMPARISONS, default="mnist", help="the data set (default: mnist)")
    parser.add_argument("--logs", default="logs/compare_labels", help="(default: logs/compare_labels)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="(default: 0 1 2 3 4)")
    args = parser.parse_args()
    comparison, logs = COMPARISONS[args.name], Path(args.logs)
    common = [f"paths.data={args.data_root}"]
    pretrained = [pretrain(comparison, logs, common, seed) for seed in args.seeds]
    rows = []
    for variant in VARIANTS:
        for beginning in ("from scratch", "pretrained"):
            reports = []
            for seed, folder in zip(args.seeds, pretrained, strict=True):
                where = logs / comparison.training / f"{beginning} {variant}".replace(" ", "-").replace("=", "-")
                words = [f"experiment={comparison.training}", variant, *common, f"paths.logs={where}"]
                words += [f"init_from={folder}"] if beginning == "pretrained" else []
                reports.append(report(where, words, seed))
            rows.append((beginning, f"`{variant}`", *reached(reports)))
    text = "\n\n".join(
        [
            table((comparison.labels, "augmentation", "test accuracy", "training"), rows),
            curve(comparison, pretrained),
            measured_with(f"python scripts/compare_labels.py --data-root data --name {args.name}", args.seeds),
        ]
    )
    print(text)
    replace_part(DOCUMENT, f"compare_labels.py {args.name}", text)


def pretrain(comparison: Comparison, logs: Path, common: Sequence[str], seed: int) -> Path:
    """Return the folder of the pretraining with `seed`. Train it if it does not exist."""
    logs /= comparison.pretraining
    report(logs, [f"experiment={comparison.pretraining}", *common, f"paths.logs={logs}"], seed)
    found = [path.parent for path in logs.glob("runs/*/*/report.json")]
    return next(folder for folder in found if (read_report(folder) or {})["seed"] == seed)


def reached(reports: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Return the test accuracy and the seconds of training."""
    seconds = [one["seconds"]["training"] for one in reports]
    return f"{spread([100 * one['metrics']['test/acc'] for one in reports], 2)}%", f"{statistics.mean(seconds):.0f} s"


def curve(comparison: Comparison, folders: Sequence[Path]) -> str:
    """Return a table with the accuracy of nearest neighbours and probe during the pretraining, and at its end."""
    # A validation after an interruption, or the test, has a row of its own.
    epochs = [[row for row in read_metrics(folder / "metrics.csv") if row[CURVE[0]]] for folder in folders]
    count = min(map(len, epochs))
    shown = sorted({0, count // 8, count // 4, count // 2, 3 * count // 4, count - 1})
    rows = []
    for metric in CURVE:
        values = [[100 * float(run[epoch][metric]) for run in epochs] for epoch in shown]
        tested = [100 * (read_report(folder) or {})["metrics"][metric.replace("val", "test")] for folder in folders]
        rows.append((f"`{metric}`", *(f"{spread(value, 1)}%" for value in values), f"{spread(tested, 2)}%"))
    minutes = statistics.mean((read_report(folder) or {})["seconds"]["training"] for folder in folders) / 60
    heads = (f"pretraining, {minutes:.0f} min", *(f"epoch {epoch + 1}" for epoch in shown), "test, all labels")
    return table(heads, rows)


if __name__ == "__main__":
    main()
