"""Compare the mlp on tables with gradient boosting on the same splits, and write the result in docs/data.md.

The tables are those of scikit-learn, written to CSV files. Each seed chooses another test set and other weights. Both
methods have their default settings. The mlp chooses its epoch on the validation split; gradient boosting, which does
not need one, is trained on it too. The files and run folders are temporary.

Examples:
    python scripts/compare_tables.py
    python scripts/compare_tables.py --seeds 0 1 2 3 4 trainer.max_epochs=20
"""

import argparse
import csv
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sklearn
import torch
from sklearn import datasets
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from leyden.config.builders import build_data
from leyden.config.compose import compose
from leyden.data.datamodule import InMemoryData
from leyden.records.report import device_name
from leyden.run import run

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.documents import cpu_name, replace_part, spread, table  # noqa: E402

DOCUMENT = ROOT / "docs" / "data.md"
TITLES = ("table", "rows", "test metric", "mlp", "gradient boosting", "training of the mlp", "of the other")
COMMAND = "model=mlp data=table trainer=cpu"


@dataclass(frozen=True)
class Rival:
    """A table and the rival of the mlp on it.

    Args:
        name: what the document calls the table.
        load: gives the table, see scikit-learn.
        metric: the metric of the test set.
        estimator: class of the rival; its argument is `random_state`.
    """

    name: str
    load: Callable[[], Any]
    metric: str
    estimator: Callable[..., Any]


RIVALS = (
    Rival("breast cancer", datasets.load_breast_cancer, "acc", GradientBoostingClassifier),
    Rival("wine", datasets.load_wine, "acc", GradientBoostingClassifier),
    Rival("diabetes", lambda: datasets.load_diabetes(scaled=False), "rmse", GradientBoostingRegressor),
)
SCALES = {"acc": ("accuracy in %", 100.0, 2), "rmse": ("RMSE", 1.0, 2)}  # metric → its name, a factor, digits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE for every run of the mlp")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for rival in RIVALS:
            path = write_table(rival, Path(folder))
            options = [*COMMAND.split(), f"data.path={path}", f"paths.logs={folder}/logs", "logger=none"]
            measured = [measure(rival, [*options, *args.overrides, f"seed={seed}"]) for seed in args.seeds]
            rows.append(row(rival, path, measured))
    print(table(TITLES, rows))
    write_document(rows, args.seeds, args.overrides)


def write_table(rival: Rival, folder: Path) -> Path:
    """Write a table to a CSV file, its classes with their names, and return the path."""
    bunch = rival.load()
    path = folder / f"{rival.name.replace(' ', '_')}.csv"
    targets = [bunch.target_names[label] for label in bunch.target] if rival.metric == "acc" else bunch.target
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*bunch.feature_names, "target"])
        writer.writerows([*values, target] for values, target in zip(bunch.data, targets, strict=True))
    return path


def measure(rival: Rival, overrides: Sequence[str]) -> tuple[float, float, float, float]:
    """Train both. Return the metric of the mlp, its seconds of training, and the same of the rival."""
    cfg = compose(*overrides)
    run(cfg)
    folder = max(Path(cfg.paths.logs).glob("runs/*/*"), key=lambda path: path.stat().st_mtime_ns)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    data = build_data(cfg)
    data.setup("fit")
    data.setup("test")
    return report["metrics"][f"test/{rival.metric}"], report["seconds"]["training"], *boost(rival, data, cfg.seed)


def boost(rival: Rival, data: InMemoryData, seed: int) -> tuple[float, float]:
    """Train the rival on the training and validation splits. Return its metric on the test set, and the seconds."""
    assert data.train is not None
    assert data.val is not None
    assert data.test is not None
    features, targets = (torch.cat(parts).numpy() for parts in zip(data.train, data.val, strict=True))
    began = time.perf_counter()
    fitted = rival.estimator(random_state=seed).fit(features, targets.reshape(-1))
    seconds = time.perf_counter() - began
    found = torch.from_numpy(fitted.predict(data.test[0].numpy()))
    wanted = data.test[1].flatten()
    metric = (found == wanted).double().mean() if rival.metric == "acc" else (found - wanted).square().mean().sqrt()
    return float(metric), seconds


def row(rival: Rival, path: Path, measured: Sequence[tuple[float, float, float, float]]) -> tuple[str, ...]:
    """Return one row of the table, without the hardware."""
    name, scale, digits = SCALES[rival.metric]
    own, own_seconds, other, other_seconds = zip(*measured, strict=True)
    return (
        rival.name,
        f"{len(path.read_text(encoding='utf-8').splitlines()) - 1:,}",
        name,
        spread([scale * value for value in own], digits),
        spread([scale * value for value in other], digits),
        f"{statistics.mean(own_seconds):.2f} s",
        f"{statistics.mean(other_seconds):.2f} s",
    )


def write_document(rows: Sequence[Sequence[str]], seeds: Sequence[int], overrides: Sequence[str]) -> None:
    """Replace the table in docs/data.md; all other text is kept."""
    command = " ".join(["python scripts/compare_tables.py", "--seeds", *map(str, seeds), *overrides])
    text = f"""\
{table(TITLES, rows)}

Mean ± standard deviation over the seeds {", ".join(map(str, seeds))}, each with its own test set of a fifth of the
rows. `{command}`, which runs `{COMMAND}`.
{cpu_name()}, {device_name(torch.device("cpu"))}; torch {torch.__version__}, scikit-learn {sklearn.__version__}.
"""
    replace_part(DOCUMENT, "compare_tables.py", text)


if __name__ == "__main__":
    main()
