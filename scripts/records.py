"""Measure the recipes with the shortest training times, and write their table in docs/records.md.

Each recipe is trained with several seeds. The rival of a recipe is measured before and after it, and the machine's rate
of matrix products around every run, because other programs may slow the machine down. What is measured is kept below
--logs, so the script can be stopped and started again; --fresh measures again. Rows of other recipes are kept.

Examples:
    python scripts/records.py --data-root data --only mnist_99
    python scripts/records.py --data-root data --only cifar10_94 --seeds 0 1 2
    python scripts/records.py --data-root data --only mnist_995 --seeds 0 trainer.accelerator=cpu
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch.utils.flop_counter import FlopCounterMode

from leyden.config.builders import build_data, build_module
from leyden.config.compose import compose
from leyden.optim import trained_weights
from leyden.records.run_folder import write_text
from leyden.seeding import seed_all
from leyden.training.transfer import Freeze

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.documents import cpu_name, spread  # noqa: E402
from scripts.plain_airbench import PlainLoop  # noqa: E402
from scripts.results import Report, report, write_header  # noqa: E402

DOCUMENT = ROOT / "docs" / "records.md"
BEGIN, END = "<!-- written by scripts/records.py -->", "<!-- end -->"
SIDE = 3_072  # of the matrices for the peak
COUNTED = 8  # images for which the operations are counted
PLAIN_STEPS = 4  # of a plain loop, after one that is not measured


@dataclass(frozen=True)
class Recipe:
    """A recipe and what it is compared with.

    Args:
        name: of the experiment.
        metric: the metric of the test set.
        seeds: how many seeds are trained by default.
        rival: overrides of the run whose training time is compared; empty: the plain loop of airbench.
    """

    name: str
    metric: str
    seeds: int
    rival: str


RECIPES = (
    Recipe("mnist_99", "test/acc", 10, "model=cnn data=mnist"),
    Recipe("mnist_995", "test/acc", 5, "model=cnn data=mnist"),
    Recipe("cifar10_94", "test/acc_tta", 3, ""),
)
TITLES = (
    "recipe", "test accuracy", "seeds", "training", "operations", "share of the peak", "rival", "rival's time",
    "time / rival's", "hardware", "versions, commit, date",
)  # fmt: skip


@dataclass(frozen=True)
class Rival:
    """A rival and its training times in seconds, one for each time it was measured."""

    name: str
    seconds: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data", help="the folder of the data sets (default: data)")
    parser.add_argument("--logs", default="logs/records", help="the folder of the runs (default: logs/records)")
    parser.add_argument("--only", choices=[one.name for one in RECIPES], nargs="+", help="measure these recipes")
    parser.add_argument("--seeds", type=int, nargs="+", help="(default: as many as the recipe needs, from 0)")
    parser.add_argument("--fresh", action="store_true", help="measure again what --logs has already")
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE for every run")
    args = parser.parse_args()
    for recipe in RECIPES:
        if args.only is None or recipe.name in args.only:
            logs = Path(args.logs) / (recipe.name + (f"-{time.strftime('%Y%m%d-%H%M%S')}" if args.fresh else ""))
            common = [f"paths.data={args.data_root}", *args.overrides]
            measured = measure(recipe, args.seeds or list(range(recipe.seeds)), logs, common)
            write_row(recipe.name, row(recipe, *measured))
            write_header(ROOT / "conf" / "experiment" / f"{recipe.name}.yaml", measured[0])


def measure(
    recipe: Recipe, seeds: Sequence[int], logs: Path, common: Sequence[str]
) -> tuple[list[Report], Rival, float, float]:
    """Return the reports of a recipe, its rival, the operations of a training, and the mean share of the peak."""
    overrides = [f"experiment={recipe.name}", *common, f"paths.logs={logs}"]
    rivals = [measure_rival(recipe, logs, common, 0)]
    reports, shares, operations = [], [], count_operations(compose(*overrides))
    for seed in seeds:
        before = peak(logs, f"{seed}-before", overrides)
        reports.append(report(logs, overrides, seed))
        rate = statistics.mean((before, peak(logs, f"{seed}-after", overrides)))
        shares.append(operations * reports[-1]["steps"] / reports[-1]["seconds"]["training"] / rate)
    rivals.append(measure_rival(recipe, logs, common, 1))
    rival = Rival(rivals[0].name, [seconds for one in rivals for seconds in one.seconds])
    return reports, rival, operations * reports[0]["steps"], statistics.mean(shares)


def measure_rival(recipe: Recipe, logs: Path, common: Sequence[str], number: int) -> Rival:
    """Measure the rival: a run with the seed `number`, or some steps of a plain loop as the time of the whole."""
    if recipe.rival:
        folder = logs / "rival"
        found = report(folder, [*recipe.rival.split(), *common, f"paths.logs={folder}"], number)
        return Rival(f"`{recipe.rival}`", [found["seconds"]["training"]])
    seconds = stored(logs / f"rival-{number}.json", lambda: plain_seconds(recipe.name, common))
    return Rival("the same net and steps as a plain loop in float32", [seconds])


def plain_seconds(name: str, common: Sequence[str], precision: str = "fp32") -> float:
    """Return the time that the whole training takes as a plain loop: the median of some steps times their number."""
    cfg = compose(f"experiment={name}", *common)
    data = build_data(cfg)
    data.setup("fit")
    assert data.train is not None
    images, labels = data.train
    loop = PlainLoop(data.transform(torch.device("cpu"))(images), labels, precision, cfg.trainer.max_epochs)
    return statistics.median(loop.train(1 + PLAIN_STEPS)[1:]) * loop.num_steps


def stored(path: Path, measured: Any) -> float:
    """Return the number in the JSON file at `path`. If there is none, measure it and write it there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(measured()) + "\n")
    return float(json.loads(path.read_text(encoding="utf-8")))


def peak(logs: Path, when: str, overrides: Sequence[str]) -> float:
    """Return the operations per second of a large matrix product now, in the precision of the run."""
    dtype = torch.bfloat16 if compose(*overrides).trainer.precision.startswith("bf16") else torch.float32
    return stored(logs / f"peak-{when}.json", lambda: matrix_rate(dtype))


def matrix_rate(dtype: torch.dtype, side: int = SIDE, seconds: float = 3.0) -> float:
    """Return the highest operations per second of products of square matrices on the CPU, measured for some time."""
    matrix, best = torch.randn(side, side).to(dtype), 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not best:
        began = time.perf_counter()
        matrix @ matrix
        best = max(best, 2 * side**3 / (time.perf_counter() - began))
    return best


def count_operations(cfg: DictConfig) -> float:
    """Return the floating point operations of a training step: forward, backward and optimizer, mean over the epochs.

    A multiplication and an addition are two. Only matrix products and convolutions are counted.
    """
    cfg = cfg.copy()
    cfg.trainer.precision = "32-true"  # the number does not depend on it
    seed_all(torch.device("cpu"), 0, "operations")
    module = build_module(cfg)
    per_epoch = [count_step(module, cfg, epoch) for epoch in range(cfg.trainer.max_epochs)]
    return statistics.mean(per_epoch)


def count_step(module: Any, cfg: DictConfig, epoch: int) -> float:
    """Return the operations of a step in `epoch`; weights may be frozen in some of them."""
    Freeze().set(module, epoch)
    images, labels = torch.randn(COUNTED, *cfg.data.shape), torch.zeros(COUNTED, dtype=torch.int64)
    with FlopCounterMode(display=False) as of_images:
        module.loss(module.train()(images), labels).backward()
    optimizer = module.optimizer(trained_weights(module.net, module.optimizer))
    with FlopCounterMode(display=False) as of_step:
        optimizer.step()
    module.zero_grad()
    per_image = of_images.get_total_flops() / COUNTED
    return float(per_image * cfg.data.batch_size + of_step.get_total_flops())


def row(recipe: Recipe, reports: Sequence[Report], rival: Rival, operations: float, share: float) -> str:
    """Return one row of the table."""
    seconds = [one["seconds"]["training"] for one in reports]
    rival_time, versions = statistics.mean(rival.seconds), reports[0]["versions"]
    commits = ", ".join(sorted({(one["git"]["commit"] or "unknown")[:7] for one in reports}))
    columns = (
        f"`experiment={recipe.name}`",
        f"{spread([100 * one['metrics'][recipe.metric] for one in reports], 2)}% ({recipe.metric})",
        ", ".join(str(one["seed"]) for one in reports),
        f"{spread(seconds, 1)} s",
        f"{operations / 1e12:,.2f}e12",
        f"{share:.0%} ({reports[0]['precision']})",
        rival.name,
        f"{rival_time:,.1f} s",
        f"{statistics.mean(seconds) / rival_time:.2f}",
        f"{cpu_name()}; {reports[0]['device']}",
        f"Python {versions['python']}, torch {versions['torch']}, lightning {versions['lightning']}; {commits}; "
        f"{time.strftime('%Y-%m-%d')}",
    )
    return f"| {' | '.join(columns)} |"


def write_row(name: str, new: str) -> None:
    """Write a row into the table of docs/records.md. The other rows and all other text are kept."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    write_text(DOCUMENT, f"{before}{BEGIN}\n{table({**kept_rows(old), name: new})}{END}{after}")


def kept_rows(text: str) -> dict[str, str]:
    """Return name of the recipe → row of a table."""
    prefix = "| `experiment="
    lines = [line for line in text.splitlines() if line.startswith(prefix)]
    return {line.removeprefix(prefix).partition("`")[0]: line for line in lines}


def table(rows: Mapping[str, str]) -> str:
    """Return the table with the rows in the order of `RECIPES`."""
    head = [f"| {' | '.join(TITLES)} |", f"|{'---|' * len(TITLES)}"]
    return "\n".join([*head, *(rows[one.name] for one in RECIPES if one.name in rows), ""])


if __name__ == "__main__":
    main()
