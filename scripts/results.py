"""Train what the README's results table lists, and write the table.

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

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- results: written by scripts/results.py -->", "<!-- end of results -->"
COMMANDS = (
    "",
    "model=mlp data=mnist",
    "model=cnn data=mnist",
    "model=cnn data=cifar10",
    "experiment=mnist_mlp_sgd",
    "model=cnn data=digit_pairs data.source=mnist",
    "model=mlp data=diabetes",
    "experiment=diabetes_mlp_sgd",
    "model=mlp data=series",
)
SHARES = {"acc": "accuracy", "exact": "exact match"}  # metrics that are shown in per cent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data", help="where the data sets are (default: data)")
    parser.add_argument("--logs", default="logs/results", help="where the runs go (default: logs/results)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("overrides", nargs="*", help="of every run, such as data.verify=false")
    args = parser.parse_args()
    rows, said = [], set()
    for command in COMMANDS:
        logs = Path(args.logs) / (re.sub(r"\W+", "-", command) or "default")
        common = [f"paths.data={args.data_root}", f"paths.logs={logs}", *args.overrides]
        reports = [report(logs, [*command.split(), *common], seed) for seed in args.seeds]
        rows.append(row(command, reports))
        said |= {note for one in reports for note in notes(one)}
    table = "\n".join(["| command | test | parameters | epochs | training |", "|---|---|---|---|---|", *rows])
    seeds = ", ".join(map(str, args.seeds))
    caption = " ".join([f"Mean ± standard deviation over seeds {seeds}.", *sorted(said, reverse=True)])
    replace_block(ROOT / "README.md", f"{table}\n\n{caption}")


def report(logs: Path, overrides: list[str], seed: int) -> dict[str, Any]:
    """The report of the run with `overrides` and `seed`, trained now if there is none."""
    for path in logs.glob("runs/*/*/report.json"):
        found: dict[str, Any] = json.loads(path.read_text())
        if found["seed"] == seed:
            return found
    subprocess.run([sys.executable, "train.py", *overrides, f"seed={seed}"], cwd=ROOT, check=True)
    return report(logs, overrides, seed)


def row(command: str, reports: list[dict[str, Any]]) -> str:
    seconds = statistics.mean(one["seconds"]["training"] for one in reports)
    first = reports[0]
    text = f"python train.py {command}".strip()
    return f"| `{text}` | {test_figure(reports)} | {first['parameters']:,} | {first['epochs']} | {seconds:.0f} s |"


def test_figure(reports: list[dict[str, Any]]) -> str:
    """Mean and standard deviation on test of what the runs were judged by on validation."""
    name = reports[0]["objective"]["metric"].partition("/")[2]
    values = [one["metrics"][f"test/{name}"] for one in reports]
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    if name in SHARES:
        return f"{SHARES[name]} {100 * mean:.2f} ± {100 * deviation:.2f}%"
    return f"{name} {mean:.4g} ± {deviation:.2g}"


def notes(one: dict[str, Any]) -> set[str]:
    """Hardware; and where the data was not the published one, that."""
    found = {f"Trained on {one['device']}, torch {one['versions']['torch']}."}
    if not one["data"]["verified"]:
        found.add(
            f"{one['data']['name']}: the checksums were not the published ones; of the test set used here, 1,000 images"
            " are the official ones and 9,000 are JPEG re-encodings, which cost a little accuracy."
        )
    return found


def replace_block(path: Path, text: str) -> None:
    """Put `text` between the markers in `path`."""
    before, _, rest = path.read_text().partition(START)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{START}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
