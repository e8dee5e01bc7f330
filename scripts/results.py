"""Train what the README's results table lists; write the table, and into each experiment's file what it reached.

    python scripts/results.py --data-root data [--seeds 0 1 2] [KEY=VALUE ...]

Each row is a command anyone can run. Existing reports of the same command and seed below --logs are used again,
so the script can be stopped and started.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from leyden.config.compose import compose

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- results: written by scripts/results.py -->", "<!-- end of results -->"
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
    "model=cnn data=cifar10",
    "experiment=cifar10_cnn_sgd",
    "experiment=cifar10_cnn_adam",
    "experiment=cifar10_resnet",
    "model=cnn data=digit_pairs data.source=mnist",
    "model=seq2seq data=digit_strings data.source=mnist",
    "model=vae data=mnist",
    "model=gan data=mnist",
    "model=mlp data=diabetes",
    "experiment=diabetes_mlp_sgd",
    "model=mlp data=series",
)
ONE_SEED = {"experiment=cifar10_resnet"}  # takes more than an hour
REACHED = "# reached: "
SHARES = {"acc": "accuracy", "exact": "exact match"}  # metrics that are shown in per cent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data", help="where the data sets are (default: data)")
    parser.add_argument("--logs", default="logs/results", help="where the runs go (default: logs/results)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("overrides", nargs="*", help="of every run that has the key, such as data.verify=false")
    args = parser.parse_args()
    rows, said = [], set()
    for command in COMMANDS:
        logs = Path(args.logs) / (re.sub(r"\W+", "-", command) or "default")
        common = [f"paths.data={args.data_root}", f"paths.logs={logs}", *known(args.overrides, command.split())]
        seeds = args.seeds[:1] if command in ONE_SEED else args.seeds
        reports = [report(logs, [*command.split(), *common], seed) for seed in seeds]
        rows.append(row(command, reports))
        if command.startswith("experiment="):
            write_header(ROOT / "conf" / f"{command.replace('=', '/')}.yaml", reports)
        said |= {note for one in reports for note in notes(one)}
    table = "\n".join(
        ["| command | test | validation | parameters | epochs | training |", "|---|---|---|---|---|---|", *rows]
    )
    caption = " ".join([f"Mean ± standard deviation over {seeds_text(args.seeds)}.", *sorted(said, reverse=True)])
    replace_block(ROOT / "README.md", f"{table}\n\n{caption}")


def known(overrides: list[str], command: list[str]) -> list[str]:
    """Those of keys that a run of `command` has: a table has no checksums to verify."""
    cfg = compose(*command)
    return [one for one in overrides if OmegaConf.select(cfg, one.partition("=")[0]) is not None]


def report(logs: Path, overrides: list[str], seed: int) -> dict[str, Any]:
    """The report of the run with `overrides` and `seed`, trained now if there is none."""
    for path in logs.glob("runs/*/*/report.json"):
        found: dict[str, Any] = json.loads(path.read_text())
        if found["seed"] == seed:
            return found
    subprocess.run([sys.executable, "train.py", *overrides, f"seed={seed}"], cwd=ROOT, check=True)
    return report(logs, overrides, seed)


def row(command: str, reports: list[dict[str, Any]]) -> str:
    first, seconds = reports[0], statistics.mean(one["seconds"]["training"] for one in reports)
    seeds = f" ({seeds_text([first['seed']])})" if len(reports) == 1 else ""
    columns = (
        f"`{f'python train.py {command}'.strip()}`",
        f"{reached(reports, 'test')}{seeds}",
        reached(reports, "val"),
        f"{first['parameters']:,}",
        first["epochs"],
        f"{seconds:.0f} s, {first['device']}",
    )
    return f"| {' | '.join(map(str, columns))} |"


def reached(reports: list[dict[str, Any]], split: str) -> str:
    """Mean and standard deviation, on test or val, of what the runs were judged by."""
    name = reports[0]["objective"]["metric"].partition("/")[2]
    scale, unit, places, fewer = (100, "%", ".2f", ".2f") if name in SHARES else (1, "", ".4g", ".2g")
    figures = [scale * one["metrics"][f"{split}/{name}"] for one in reports]
    spread = f" ± {statistics.stdev(figures):{fewer}}" if len(figures) > 1 else ""
    return f"{SHARES.get(name, name)} {statistics.mean(figures):{places}}{spread}{unit}"


def seeds_text(seeds: list[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def write_header(path: Path, reports: list[dict[str, Any]]) -> None:
    """Put into the comments at the head of an experiment's file what its runs reached."""
    seconds = statistics.mean(one["seconds"]["training"] for one in reports)
    seeds = seeds_text([one["seed"] for one in reports])
    caveat = "" if reports[0]["data"]["verified"] else "; not all official images, see README.md"
    figures = f"test {reached(reports, 'test')}, validation {reached(reports, 'val')}"
    line = f"{REACHED}{figures} ({seeds}; {seconds:.0f} s each on {reports[0]['device']}{caveat})"
    lines = [old for old in path.read_text().splitlines() if not old.startswith(REACHED)]
    start = next(number for number, old in enumerate(lines) if not old.startswith("#"))
    path.write_text("\n".join([*lines[:start], line, *lines[start:], ""]))


def notes(one: dict[str, Any]) -> set[str]:
    """Software; and where the data was not the published one, that."""
    found = {f"Trained with torch {one['versions']['torch']}."}
    if not one["data"]["verified"]:
        found.add(
            f"{one['data']['name']}: the checksums were not the published ones; of the test set used here, 1,000 images"
            " are the official ones and 9,000 are JPEG re-encodings, on which nets do worse, and good ones much worse;"
            " the images that validate are official ones."
        )
    return found


def replace_block(path: Path, text: str) -> None:
    """Put `text` between the markers in `path`."""
    before, _, rest = path.read_text().partition(START)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{START}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
