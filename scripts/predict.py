"""Predict inputs with a trained run: images, rows and series in CSV files, or texts.

Examples:
    python scripts/predict.py logs/runs/mnist-cnn/RUN digit.png
    python scripts/predict.py logs/runs/folder-cnn/RUN photos/new 'more/*.jpg' --top 3
    python scripts/predict.py logs/runs/folder-cnn/RUN photos/new --csv predictions.csv
    python scripts/predict.py logs/runs/diabetes-mlp/RUN patients.csv --json
    find photos -name '*.jpg' | python scripts/predict.py logs/runs/folder-cnn/RUN - --json
    python scripts/predict.py logs/runs/imdb-bag/RUN "What a film!" review.txt new_reviews.csv
    python scripts/predict.py logs/runs/translation-seq2seq/RUN "5. März 2021" sentences.txt --csv translated.csv
    python scripts/predict.py logs/runs/translation-seq2seq/RUN - < sentences.txt

A text is given itself, or as a text file, of which a run of task=translation translates each line. A run of data=text,
imdb and so on also takes the rows of a CSV, TSV, JSON lines or Parquet file with the column of the texts.

A broken file is reported, and the others are predicted. Then the exit code is 1. If all are broken it is 2, and no file
is written.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from leyden.config.exit_codes import exit_codes
from leyden.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="files, folders, glob patterns, texts, or - for a list of them on stdin",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print a JSON object per input")
    output.add_argument("--csv", type=Path, metavar="FILE", help="write a CSV file with a row per input")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes to show per input (default: 5)")
    parser.add_argument("--batch-size", type=int, default=256, help="inputs that are computed together (default: 256)")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps (default: cpu)")
    args = parser.parse_args()
    with exit_codes():
        for name, value in (("--top", args.top), ("--batch-size", args.batch_size)):
            if value < 1:
                raise UserError(f"{name}: got {value}, must be at least 1")
        return run(args)


def run(args: argparse.Namespace) -> int:
    """Predict and write the results. Return the exit code."""
    import leyden
    from leyden.tools.devices import checked_device
    from leyden.tools.input_files import find_inputs
    from leyden.tools.predict import predict
    from leyden.tools.prediction_output import Counts, write_csv, write_json, write_table

    device = checked_device(args.device)
    model = leyden.load(args.run).to(device)
    model.check_predicts()
    found = find_inputs(model, [name for argument in args.inputs for name in expand(argument)])
    counts = Counts()
    results = counts.count(predict(model, found, args.batch_size))
    write = write_json if args.json else write_csv if args.csv else write_table
    with output_file(args.csv) as file:
        write(results, file, args.top)
        if not counts.predicted:
            sys.exit(2)  # an older file is not replaced
    if counts.broken:
        total = counts.broken + counts.predicted
        print(f"{counts.broken:,} of {total:,} inputs could not be predicted", file=sys.stderr)
    return 1 if counts.broken else 0


def expand(argument: str) -> list[str]:
    """Return the lines of stdin for ``-``, and otherwise the argument itself."""
    return [line.rstrip("\n") for line in sys.stdin if line.strip()] if argument == "-" else [argument]


@contextmanager
def output_file(path: Path | None) -> Iterator[TextIO]:
    """Open a new text file that replaces `path` when all is written, or stdout if there is none."""
    from leyden.records.run_folder import writing

    if path is None:
        yield sys.stdout
        return
    with writing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        yield text
        text.detach()  # otherwise it would close the file, which is still to be renamed


if __name__ == "__main__":
    sys.exit(main())
