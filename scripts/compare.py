"""Compare runs and sweeps: one row per configuration, the best first.

A row shows the keys that differ, and the mean ± standard deviation over its seeds (or folds). With --by, a row is a
value of the given keys, and its runs may differ in all others. The column p is shown for rows that share at least three
seeds (or folds) with the best one: if both were equally good, differences as large as these would occur with
probability p (paired t-test of the first metric; not corrected for many rows).

Examples:
    python scripts/compare.py logs/sweeps/NAME logs/runs/digits-cnn
    python scripts/compare.py logs/sweeps/NAME --metrics test/acc test/loss
    python scripts/compare.py logs/sweeps/NAME --by optimizer.lr
    python scripts/compare.py logs/sweeps/NAME --by model data --format latex
    python scripts/compare.py logs/sweeps/NAME --format csv --out table.csv
    python scripts/compare.py logs/sweeps/NAME --curves val/acc --out curves.png
    python scripts/compare.py logs/sweeps/NAME --curves test/acc --x data.labels --by init_from
"""

import argparse
import sys
from pathlib import Path

from leyden.config.exit_codes import exit_codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", nargs="+", type=Path, help="run folders, sweep folders, or folders that contain them"
    )
    parser.add_argument("--metrics", nargs="+", help="columns (default: the objective, on validation and on test)")
    parser.add_argument("--by", nargs="+", metavar="KEY", default=[], help="one row per value of these keys")
    parser.add_argument(
        "--format", choices=("markdown", "csv", "latex"), default="markdown", help="(default: markdown)"
    )
    parser.add_argument("--curves", metavar="METRIC", help="plot this metric over the epochs instead of a table")
    parser.add_argument("--x", metavar="KEY", help="with --curves: plot the metric against this key, not the epochs")
    parser.add_argument("--out", type=Path, help="file to write (default: print the table, or curves.png)")
    args = parser.parse_args()
    if args.x and not args.curves:
        parser.error("--x: needs --curves METRIC, the metric to plot")
    with exit_codes():
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Print or write what the arguments ask for."""
    from leyden.config.plugins import load_plugins
    from leyden.errors import UserError
    from leyden.records.run_folder import write_text
    from leyden.tools.compare import default_metrics, note, ranked, table
    from leyden.tools.comparison_table import as_csv, as_latex, as_markdown
    from leyden.tools.curves import plot_curves
    from leyden.tools.key_curves import plot_against
    from leyden.tools.read_runs import find_runs

    load_plugins()  # those of the environment: their choices have names, too
    runs, left_out = find_runs(args.folders)
    if len(left_out) == 1 and not runs:
        raise UserError(left_out[0])
    for line in left_out:
        print(line, file=sys.stderr)
    if not runs:
        raise UserError(f"{', '.join(map(str, args.folders))}: contains no finished run")
    objective = runs[0].report["objective"]
    metrics = args.metrics or default_metrics(runs)
    groups = ranked(runs, metrics[0], objective["mode"] if metrics[0] == objective["metric"] else None, args.by)
    if args.curves:
        path = args.out or Path("curves.png")
        if args.x:
            plot_against(runs, args.curves, args.x, path, args.by)
        else:
            plot_curves(groups, args.curves, path, args.by)
        print(path)
        return
    header, rows = table(groups, metrics, args.by)
    text = {"csv": as_csv, "latex": as_latex, "markdown": as_markdown}[args.format](header, rows)
    if args.out:
        write_text(args.out, text)
    else:
        print(text, end="")
    if few := note(groups, metrics[0], args.by):
        print(few, file=sys.stderr)


if __name__ == "__main__":
    main()
