"""Measure how the speed of training scales, and plot it: docs/scaling.png and the table in docs/scaling.md.

    python scripts/scaling.py                          about 15 minutes; needs 20 GB on the disk of TMPDIR
    python scripts/scaling.py --only batch width       these parts; the other rows of the table are kept

batch      images/s against the batch size: the mlp and the cnn on synthetic images of MNIST's size
width      images/s against the width of the mlp
size       images/s against the number of images, up to 6 million; large data is mapped to a file
processes  images/s against the number of processes (DDP on the CPU)

Each value is the median of the `images_per_second` that --repeat runs of `python train.py` report: samples per second
of training, without start-up, validation and test. Each run trains --batches batches.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leyden.records.run_folder import write_text, writing

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.results import train  # noqa: E402

PAGE, IMAGE = ROOT / "docs" / "scaling.md", ROOT / "docs" / "scaling.png"
SYNTHETIC = ["data=synthetic", "data.num_train=60000", "data.eval_batch_size=1000"]
SHORT = ["trainer.max_epochs=1", "trainer.limit_val_batches=1", "trainer.limit_test_batches=0", "logger=none"]
BASE = [*SYNTHETIC, *SHORT, "trainer.accelerator=cpu", "optimizer=adam"]
COLOUR = ["data.shape=[3,32,32]", "data.mean=[0.5,0.5,0.5]", "data.std=[0.25,0.25,0.25]"]

# part → label of the axis, and series → value on the axis → overrides
Series = Mapping[str, Mapping[int, Sequence[str]]]
PARTS: dict[str, tuple[str, Series]] = {
    "batch": (
        "batch size",
        {
            model: {size: [f"model={model}", f"data.batch_size={size}"] for size in (16, 32, 64, 128, 256, 512, 1024)}
            for model in ("mlp", "cnn")
        },
    ),
    "width": (
        "width of the two hidden layers (mlp, batch size 256)",
        {
            "mlp": {
                width: ["model=mlp", f"model.hidden=[{width},{width}]", "data.batch_size=256"]
                for width in (64, 128, 256, 512, 1024, 2048)
            }
        },
    ),
    "size": (
        "training images (mlp, batch size 256)",
        {
            "1x28x28": {
                num: ["model=mlp", "data.batch_size=256", f"data.num_train={num}"]
                for num in (60_000, 600_000, 2_000_000, 6_000_000)
            },
            "3x32x32": {
                num: ["model=mlp", "data.batch_size=256", f"data.num_train={num}", *COLOUR]
                for num in (60_000, 600_000, 2_500_000)
            },
        },
    ),
    "processes": (
        "processes (cnn, batch size 128 each)",
        {
            "cnn": {
                num: ["model=cnn", "data.batch_size=128", "trainer=ddp", f"trainer.devices={num}"]
                for num in range(1, (os.cpu_count() or 1) + 1)
            }
        },
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="measure these parts")
    parser.add_argument("--repeat", type=int, default=3, help="runs per value (default: 3)")
    parser.add_argument("--batches", type=int, default=300, help="training batches of a run (default: 300)")
    args = parser.parse_args()
    rows = kept_rows(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    for part in args.only:
        for series, values in PARTS[part][1].items():
            for value, overrides in values.items():
                reports = [
                    measure([*overrides, f"trainer.limit_train_batches={args.batches}"]) for _ in range(args.repeat)
                ]
                rows[part, series, value] = (
                    statistics.median(report["images_per_second"] for report in reports),
                    reports[0]["device"],
                )
                write_text(PAGE, page(rows))
    plot(rows)


def measure(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the report of a run with these overrides."""
    with tempfile.TemporaryDirectory() as logs:
        train([*BASE, *overrides, f"paths.logs={logs}"])
        (path,) = Path(logs).glob("runs/*/*/report.json")
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return report


Rows = dict[tuple[str, str, int], tuple[float, str]]


def page(rows: Rows) -> str:
    """Return the text of docs/scaling.md."""
    table = "".join(
        f"| {part} | {series} | {value:,} | {rate:,.0f} | {device} |\n"
        for (part, series, value), (rate, device) in rows.items()
    )
    return HEADER + table


def kept_rows(text: str) -> Rows:
    """Return the rows of docs/scaling.md."""
    rows: Rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and re.fullmatch(r"[\d,]+", cells[2]):
            rows[cells[0], cells[1], int(cells[2].replace(",", ""))] = float(cells[3].replace(",", "")), cells[4]
    return rows


def plot(rows: Rows) -> None:
    """Write docs/scaling.png: a chart for each part."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, charts = plt.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    for chart, (part, (label, series)) in zip(charts.flat, PARTS.items(), strict=True):
        for name in series:
            points = sorted(
                (value, rate) for (of, line, value), (rate, _) in rows.items() if (of, line) == (part, name)
            )
            if points:
                chart.plot(*zip(*points, strict=True), marker="o", label=name)
        chart.set(xlabel=label, ylabel="images/s", ylim=(0, None), xscale="linear" if part == "processes" else "log")
        if part == "processes":
            chart.set_xticks(range(1, (os.cpu_count() or 1) + 1))
        chart.grid(alpha=0.3)
        if chart.has_data():
            chart.legend()
    with writing(IMAGE) as file:
        figure.savefig(file, format="png", dpi=110)


HEADER = """\
# Scaling

Written by `python scripts/scaling.py`: the median over several runs of the images per second of training, without
start-up, validation and test. The images are synthetic. The columns of the table are those of the charts.

![images per second against batch size, width, number of images and processes](scaling.png)

Data above a quarter of the machine's memory is mapped to a file in the folder TMPDIR (or /var/tmp), so a data set may
be larger than the memory. Photos (`data=folder`) are mapped from their cache of decoded images. The samples are the
same.

| part | series | value | images/s | device |
|---|---|---|---|---|
"""


if __name__ == "__main__":
    main()
