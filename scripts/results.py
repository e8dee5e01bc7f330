"""Train every command of RESULTS.md, then write RESULTS.md and the result line in the header of each experiment file.

Every row is a command that anyone can run. A run whose report is already below --logs is not trained again, so the
script can be stopped and started again.

Examples:
    python scripts/results.py --data-root data
    python scripts/results.py --only experiment=mnist_mlp_sgd --seeds 0 1
    python scripts/results.py --data-root data trainer.accelerator=cpu
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from leyden.config.compose import compose
from leyden.records.run_folder import write_text
from leyden.sweep.forking import AVAILABLE, ForkServer

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (
    "",
    "model=mlp data=mnist",
    "model=cnn data=mnist",
    "model=rnn data=mnist",
    "model=lstm data=mnist",
    "model=gru data=mnist",
    "model=transformer data=mnist",
    "experiment=mnist_resnet",
    "experiment=mnist_mlp_sgd",
    "experiment=mnist_mlp_momentum",
    "experiment=mnist_mlp_deep",
    "experiment=mnist_99",
    "experiment=mnist_995",
    "experiment=mnist_private",
    "experiment=mnist_fedavg",
    "experiment=mnist_fedavg_by_class",
    "model=cnn data=cifar10",
    "experiment=cifar10_cnn_sgd",
    "experiment=cifar10_cnn_adam",
    "experiment=cifar10_resnet",
    "experiment=cifar10_94",
    "model=cnn data=digit_pairs data.source=mnist",
    "model=seq2seq data=digit_strings data.source=mnist",
    "experiment=mnist_clip",
    "model=vae data=mnist",
    "model=gan data=mnist",
    "experiment=mnist_flow",
    "experiment=cifar10_flow",
    "experiment=mnist_simclr",
    "experiment=mnist_100",
    "experiment=cifar10_simclr",
    "experiment=cifar10_labels",
    "model=mlp data=diabetes",
    "experiment=diabetes_mlp_sgd",
    "model=mlp data=series",
    "experiment=imdb_bag",
    "experiment=imdb_lstm",
    "experiment=imdb_textcnn",
    "experiment=imdb_transformer",
    "experiment=r8_bag",
    "experiment=r8_textcnn",
    "experiment=r8_transformer",
    "experiment=news20_bag",
    "experiment=shakespeare_gpt",
    "experiment=dates_seq2seq",
    "experiment=multi30k_transformer",
)
ONE_SEED = {  # take half an hour or more
    "experiment=cifar10_resnet",
    "experiment=cifar10_flow",
    "experiment=cifar10_simclr",
    "experiment=mnist_flow",
    "experiment=multi30k_transformer",
}
RESULT = "# result: "
PERCENT = {
    "acc": "accuracy",
    "acc_tta": "accuracy with test-time augmentation",
    "exact": "exact match",
    "knn_acc": "accuracy of the nearest neighbours",
    "i2t_acc": "accuracy of the text that is found for an image",
}  # metrics that are fractions, and their names

HEADER = """\
# Results

Written by `python scripts/results.py`. Each row is one command, run with each of the listed seeds (`seed=…`): mean ±
standard deviation over the seeds. The test set is read once, after training, with the epoch that is best on the
validation set. Times are those of training, without start-up, validation and test.

| command | test | validation | seeds | parameters | epochs | training | hardware | commit |
|---|---|---|---|---|---|---|---|---|
"""

Report = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data", help="the folder of the data sets (default: data)")
    parser.add_argument("--logs", default="logs/results", help="the folder of the runs (default: logs/results)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("--only", nargs="+", metavar="COMMAND", help="train these; RESULTS.md keeps its other rows")
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE for every run that has the key")
    args = parser.parse_args()
    measured = []
    for command in args.only or COMMANDS:
        logs = Path(args.logs) / (re.sub(r"\W+", "-", command) or "default")
        wanted = [*command.split(), f"paths.data={args.data_root}", f"paths.logs={logs}"]
        wanted += known(args.overrides, wanted)
        seeds = args.seeds[:1] if command in ONE_SEED else args.seeds
        reports = [report(logs, wanted, seed) for seed in seeds]
        measured.append((command, reports))
        if command.startswith("experiment="):
            write_header(ROOT / "conf" / f"{command.replace('=', '/')}.yaml", reports)
    path = ROOT / "RESULTS.md"
    write_text(path, page(measured, kept_rows(path.read_text(encoding="utf-8")) if path.exists() else {}))


def known(overrides: Sequence[str], command: Sequence[str]) -> list[str]:
    """Return the `overrides` whose keys the runs of `command` have. A table, for example, has no key data.verify."""
    cfg = compose(*command)
    return [one for one in overrides if OmegaConf.select(cfg, one.partition("=")[0]) is not None]


def report(logs: Path, overrides: Sequence[str], seed: int) -> Report:
    """Return the report of the run with `overrides` and `seed`. Train it if it does not exist."""
    for path in logs.glob("runs/*/*/report.json"):
        found: Report = json.loads(path.read_text(encoding="utf-8"))
        if found["seed"] == seed:
            return found
    train([*overrides, f"seed={seed}"])
    return report(logs, overrides, seed)


def train(overrides: Sequence[str]) -> None:
    """Run ``python train.py <overrides>``. The first run starts a process that does the imports of all runs.

    Raises:
        CalledProcessError: the run has failed.
    """
    command = [str(ROOT / "train.py"), *overrides]
    sys.stdout.flush()
    if AVAILABLE:
        code = server().call(command, os.environ, sys.stdout.buffer)
    else:
        code = subprocess.run([sys.executable, *command]).returncode
    if code:
        raise subprocess.CalledProcessError(code, command)


@cache
def server() -> ForkServer:
    """Return the fork server of this script."""
    return ForkServer(os.environ)


def kept_rows(text: str) -> dict[str, str]:
    """Return command → row of a RESULTS.md."""
    return {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}


def shown(command: str) -> str:
    """Return the command as the table shows it."""
    return f"python train.py {command}".strip()


def page(measured: Sequence[tuple[str, Sequence[Report]]], kept: Mapping[str, str]) -> str:
    """Return the text of RESULTS.md: the rows that were measured now, and `kept` ones of other commands."""
    rows = {**kept, **{shown(command): row(command, reports) for command, reports in measured}}
    order = [shown(command) for command in COMMANDS]
    table = "".join(f"{rows[command]}\n" for command in order if command in rows)
    versions = sorted({one["versions"]["torch"] for _, reports in measured for one in reports})
    unofficial = sorted(
        {one["data"]["name"] for _, reports in measured for one in reports if not one["data"]["verified"]}
    )
    notes = [f"Trained with torch {', '.join(versions)}."]
    if any("not recorded" in line for line in table.splitlines()):
        notes.append("Rows without a commit are results of version 0.1.0, which did not record it.")
    notes += [f"The files of {name} did not have the published checksums." for name in unofficial]
    return f"{HEADER}{table}\n{' '.join(notes)}\n"


def row(command: str, reports: Sequence[Report]) -> str:
    """Return one row of the table."""
    first = reports[0]
    columns = (
        f"`{shown(command)}`",
        reached(reports, "test"),
        validated(reports),
        ", ".join(str(one["seed"]) for one in reports),
        f"{first['parameters']:,}",
        f"{statistics.mean(one['epochs'] for one in reports):g}",
        training_time(reports),
        first["device"],
        commits(reports),
    )
    return f"| {' | '.join(columns)} |"


def reached(reports: Sequence[Report], split: str) -> str:
    """Return mean and standard deviation of the objective on `split`, for example ``accuracy 98.70 ± 0.64%``."""
    name = reports[0]["objective"]["metric"].partition("/")[2]
    scale, unit, digits, fewer = (100, "%", ".2f", ".2f") if name in PERCENT else (1, "", ".4g", ".2g")
    values = [scale * one["metrics"][f"{split}/{name}"] for one in reports]
    spread = f" ± {statistics.stdev(values):{fewer}}" if len(values) > 1 else ""
    return f"{PERCENT.get(name, name)} {statistics.mean(values):{digits}}{spread}{unit}"


def validated(reports: Sequence[Report]) -> str:
    """Return what `reached` returns for the validation, unless its samples were trained on."""
    return "trained on" if "train_on_all" in reports[0]["data"] else reached(reports, "val")


def training_time(reports: Sequence[Report]) -> str:
    """Return the mean time that a run trained, for example ``1.2 s``."""
    seconds = statistics.mean(one["seconds"]["training"] for one in reports)
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:,.0f} s"


def commits(reports: Sequence[Report]) -> str:
    """Return the short names of the git commits that the runs were made with."""
    return ", ".join(sorted({one["git"]["commit"][:7] or "unknown" for one in reports}))


def write_header(path: Path, reports: Sequence[Report]) -> None:
    """Write the result of an experiment into the comments at the top of its file. It replaces an earlier result."""
    seeds = f"seed{'s' if len(reports) > 1 else ''} {', '.join(str(one['seed']) for one in reports)}"
    caveat = "" if reports[0]["data"]["verified"] else "; the data did not have the published checksums"
    line = (
        f"{RESULT}test {reached(reports, 'test')}, validation {validated(reports)} ({seeds}; "
        f"{training_time(reports)} each on {reports[0]['device']}; commit {commits(reports)}{caveat})"
    )
    lines = [old for old in path.read_text(encoding="utf-8").splitlines() if not old.startswith(RESULT)]
    start = next(number for number, old in enumerate(lines) if not old.startswith("#"))
    write_text(path, "\n".join([*lines[:start], line, *lines[start:], ""]))


if __name__ == "__main__":
    main()
