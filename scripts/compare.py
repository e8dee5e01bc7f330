"""Put runs and sweeps side by side.

    python scripts/compare.py logs/sweeps/NAME logs/runs/digits-cnn
    python scripts/compare.py logs/sweeps/NAME --format csv --out table.csv
    python scripts/compare.py logs/sweeps/NAME --curves val/acc --out curves.png

A row per configuration, the best first, with the keys that differ; mean ± standard deviation over its seeds (or
folds). Where configurations share seeds with the best one, p says how likely differences as these are between two
that are equally good (paired t-test over the shared seeds, of the first metric; not corrected for many rows).
"""

import argparse
import csv
import io
import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from leyden.records.run_folder import write_text
from leyden.sweep.display import short

REPLICATES = ("seed", "data.seed", "data.fold")  # what runs of one configuration may differ in
PLACES = ("paths.", "data.root", "name", "resume", "tensorboard", "data.verify", "data.download", "checkpoint.")
MIN_PAIRS = 3  # below so many shared seeds a test says nothing
MAX_CURVES = 8
SMALLER_IS_BETTER = {"loss", "mae", "rmse", "mse", "mae_vs_naive", "rmse_vs_naive", "nll", "kl", "bpd", "fcd"}
NONE = "–"


@dataclass
class Run:
    """One run: its folder, report and flat config."""

    folder: Path
    report: dict[str, Any]
    config: dict[str, str]

    @property
    def replicate(self) -> tuple[str, ...]:
        return tuple(self.config.get(key, "") for key in REPLICATES)

    def metric(self, name: str) -> float:
        """NaN if the run did not have it."""
        return float(self.report["metrics"].get(name, math.nan))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="runs, sweeps or any folders above them")
    parser.add_argument("--metrics", nargs="+", help="columns (default: the objective, and it on the test set)")
    parser.add_argument("--format", choices=("markdown", "csv"), default="markdown", help="(default: markdown)")
    parser.add_argument("--curves", metavar="METRIC", help="a picture of it over the epochs instead of a table")
    parser.add_argument("--out", type=Path, help="the file to write (default: print the table)")
    args = parser.parse_args()
    runs, left_out = find_runs(args.folders)
    if not runs:
        sys.exit(f"error: no finished run below {', '.join(map(str, args.folders))}")
    objective = runs[0].report["objective"]
    metrics = args.metrics or [objective["metric"], objective["metric"].replace("val/", "test/")]
    groups = ranked(runs, metrics[0], objective["mode"] if metrics[0] == objective["metric"] else None)
    if args.curves:
        draw(groups, args.curves, args.out or Path("curves.png"))
        return
    header, rows = table(groups, metrics)
    text = as_csv(header, rows) if args.format == "csv" else as_markdown(header, rows)
    if args.out:
        write_text(args.out, text)
    else:
        print(text, end="")
    if left_out:
        print(f"{left_out} pruned runs left out", file=sys.stderr)


def find_runs(folders: Iterable[Path]) -> tuple[list[Run], int]:
    """The finished runs in and below `folders`, and how many pruned ones there are."""
    paths = sorted({path.resolve() for folder in folders for path in folder.glob("**/report.json")})
    runs = [read_run(path.parent) for path in paths]
    finished = [run for run in runs if run.report["state"] == "finished"]
    return finished, len(runs) - len(finished)


def read_run(folder: Path) -> Run:
    report = json.loads((folder / "report.json").read_text())
    config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=False)
    return Run(folder, report, dict(flat(config)))


def flat(node: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def ranked(runs: Iterable[Run], metric: str, mode: str | None) -> list[list[Run]]:
    """Runs of one configuration together, each seed once, the best configuration first.

    Args:
        mode: None for that of a name, see `SMALLER_IS_BETTER`.
    """
    groups: dict[Any, dict[Any, Run]] = defaultdict(dict)
    for run in runs:
        groups[configuration(run)][run.replicate] = run
    sign = -1 if (mode or ("min" if metric.rpartition("/")[2] in SMALLER_IS_BETTER else "max")) == "max" else 1
    listed = [list(group.values()) for group in groups.values()]
    return sorted(listed, key=lambda group: sign * mean(run.metric(metric) for run in group))


def configuration(run: Run) -> tuple[tuple[str, str], ...]:
    """What the run is, apart from seed, fold and the places of its files."""
    return tuple((k, v) for k, v in run.config.items() if k not in REPLICATES and not k.startswith(PLACES))


def differing(groups: Sequence[Sequence[Run]]) -> list[str]:
    """The keys in which configurations differ, without those that only follow from another class in their section.

    So of a cnn and an mlp it is the model that differs, and not that one has channels.
    """
    configs = [dict(configuration(group[0])) for group in groups]
    keys = [key for key in dict.fromkeys(k for c in configs for k in c) if len({c.get(key) for c in configs}) > 1]

    def follows(key: str) -> bool:
        target = f"{key.partition('.')[0]}._target_"
        if key == target or target not in keys:
            return False
        pairs = {(config.get(target), config.get(key)) for config in configs}
        return len(pairs) == len({config.get(target) for config in configs})

    return [key for key in keys if not follows(key)]


def label(config: dict[str, str], key: str) -> str:
    value = config.get(key, NONE)
    return value.rpartition(".")[2] if key.endswith("._target_") else value


def table(groups: Sequence[Sequence[Run]], metrics: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Headings and a row per configuration: keys, then (mean, standard deviation) of each metric, n, seconds, p."""
    keys = differing(groups)
    header = [*(key.removesuffix("._target_") for key in keys), *metrics, "n", "seconds", "p"]
    rows = []
    for group in groups:
        figures = [spread(run.metric(metric) for run in group) for metric in metrics]
        seconds = statistics.mean(run.report["seconds"]["training"] for run in group)
        names = [label(group[0].config, key) for key in keys]
        rows.append([*names, *figures, len(group), seconds, paired(groups[0], group, metrics[0])])
    return header, rows


def paired(best: Sequence[Run], other: Sequence[Run], metric: str) -> float | None:
    """p of a two-sided paired t-test over the seeds that both have; None if those are too few or all the same."""
    from scipy.stats import ttest_rel

    ours, theirs = ({run.replicate: run.metric(metric) for run in group} for group in (best, other))
    shared = sorted(ours.keys() & theirs.keys())
    differences = {ours[one] - theirs[one] for one in shared}
    if len(shared) < MIN_PAIRS or len(differences) == 1 or best is other:
        return None
    return float(ttest_rel([ours[one] for one in shared], [theirs[one] for one in shared]).pvalue)


def spread(values: Iterable[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None for that of a single value."""
    listed = list(values)
    return mean(listed), statistics.stdev(listed) if len(listed) > 1 else None


def mean(values: Iterable[float]) -> float:
    return statistics.mean(values)


def as_markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    def cell(name: str, value: Any) -> str:
        if isinstance(value, tuple):
            return f"{value[0]:.4f}" + ("" if value[1] is None else f" ± {value[1]:.4f}")
        if isinstance(value, float):
            return f"{value:.1f}" if name == "seconds" else f"{value:.3f}"
        return NONE if value is None else short(str(value)).replace("|", "\\|")

    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += [f"| {' | '.join(map(cell, header, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def as_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """With a column for each mean and each standard deviation."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    pairs = [isinstance(value, tuple) for value in rows[0]]
    writer.writerow([column for name, pair in zip(header, pairs, strict=True) for column in columns(name, pair)])
    for row in rows:
        writer.writerow([part for value in row for part in (value if isinstance(value, tuple) else (value,))])
    return text.getvalue()


def columns(name: str, pair: bool) -> list[str]:
    return [name, f"{name} std"] if pair else [name]


def draw(groups: Sequence[Sequence[Run]], metric: str, path: Path) -> None:
    """A line per configuration, the mean over its seeds, within a band of one standard deviation."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    keys, shown = differing(groups), groups[:MAX_CURVES]
    figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    for index, group in enumerate(shown):
        points = curve(group, metric)
        epochs, means = [epoch for epoch, _, _ in points], [middle for _, middle, _ in points]
        (line,) = axes.plot(epochs, means, color=f"C{index}", linewidth=1.8, label=legend(group, keys))
        low, high = ([m + sign * s for _, m, s in points] for sign in (-1, 1))
        axes.fill_between(epochs, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch", ylabel=metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    rest = f" (the best {len(shown)} of {len(groups)})" if len(groups) > len(shown) else ""
    figure.legend(loc="outside lower center", ncols=1 if len(keys) > 2 else 2, frameon=False, fontsize="small")
    over = ": mean ± standard deviation over seeds" if any(len(group) > 1 for group in shown) else ""
    axes.set_title(f"{metric}{over}{rest}", loc="left", fontsize="medium")
    figure.savefig(path, dpi=150)
    print(path)


def legend(group: Sequence[Run], keys: Iterable[str]) -> str:
    parts = [f"{key.removesuffix('._target_')}={short(label(group[0].config, key))}" for key in keys]
    return f"{', '.join(parts) or group[0].report['name']} (n={len(group)})"


def curve(group: Iterable[Run], metric: str) -> list[tuple[int, float, float]]:
    """(epoch, mean, standard deviation) over the runs that reached the epoch, the first being 1."""
    values = defaultdict(list)
    for run in group:
        with (run.folder / "metrics.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                if row.get(metric):
                    values[int(float(row["epoch"])) + 1].append(float(row[metric]))
    if not values:
        sys.exit(f"error: --curves: no run logged {metric}")
    return [(epoch, mean(v), statistics.stdev(v) if len(v) > 1 else 0.0) for epoch, v in sorted(values.items())]


if __name__ == "__main__":
    main()
