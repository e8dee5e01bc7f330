"""Evaluate the best checkpoint of a run again: metrics, tables and plots in RUN/evaluation/<split>/.

Examples:
    python scripts/evaluate.py logs/runs/mnist-cnn/RUN
    python scripts/evaluate.py logs/runs/mnist-cnn/RUN --split val --json
    python scripts/evaluate.py logs/runs/folder-cnn/RUN --data other_photos
    python scripts/evaluate.py logs/runs/diabetes-mlp/RUN --data patients.csv
    python scripts/evaluate.py logs/runs/folder-cnn/RUN --data-root moved/photos
    python scripts/evaluate.py logs/sweeps/NAME --folds
    python scripts/evaluate.py logs/runs/mnist-flow/RUN --steps 1 2 5 10 20 --classifier logs/runs/mnist-cnn/RUN
    python scripts/evaluate.py logs/runs/mnist-flow/RUN --bits 200

--data evaluates all samples of other data: a folder with class folders for a run on images; a CSV file with the
features and the target for a run on a table; a CSV file for a run on a series. --data-root and --data-path say where
the run's own data is now. A broken file in --data is reported, and the others are evaluated. Then the exit code is 1.
"""

import argparse
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from leyden.config.exit_codes import exit_codes
from leyden.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder; several with --folds")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--split", choices=("val", "test"), default="test", help="(default: test)")
    what.add_argument("--data", type=Path, metavar="PATH", help="other data of the same kind, see above")
    fold_help = "evaluate each RUN of a cross-validation, or of a sweep folder, on its own fold; writes no files"
    what.add_argument("--folds", action="store_true", help=fold_help)
    parser.add_argument("--data-root", metavar="FOLDER", help="where the run's own data is (default: as in the run)")
    parser.add_argument("--data-path", metavar="FILE", help="where the run's own CSV file is (default: as in the run)")
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, gpu, cuda or mps (default: auto)")
    parser.add_argument("--json", action="store_true", help="print the metrics as a JSON object")
    parser.add_argument("--no-files", action="store_true", help="print the metrics and write nothing")
    add_flow_options(parser)
    args = parser.parse_args()
    with exit_codes():
        if args.folds:
            return folds(args)
        if len(args.runs) > 1:
            raise UserError(f"RUN: got {len(args.runs)} run folders, must be one, or the folds of one with --folds")
        return one_run(args)


def add_flow_options(parser: argparse.ArgumentParser) -> None:
    flows = parser.add_argument_group("images of a flow (model=flow, dit or ddpm)")
    flows.add_argument("--steps", type=int, nargs="+", default=(), metavar="N", help="plot the quality for N steps")
    classifier = "how many samples show the requested class for the classifier of another run"
    flows.add_argument("--classifier", type=Path, metavar="RUN", help=classifier)
    guidance = "measure everything with another guidance than that of the run"
    flows.add_argument("--guidance", type=float, metavar="G", help=guidance)
    flows.add_argument(
        "--samples", type=int, metavar="N", help="images to generate for each figure (default: as the run)"
    )
    flows.add_argument("--bits", type=int, default=0, metavar="N", help="bits per dimension of the first N images")
    fid = "FID; WEIGHTS are those of the Inception net of torch-fidelity, which must be installed"
    flows.add_argument("--fid", type=Path, metavar="WEIGHTS", help=fid)


def one_run(args: argparse.Namespace) -> int:
    """Evaluate a run, write the files, and print the metrics. Return the exit code."""
    with redirect_stdout(sys.stderr):  # of messages about the data: stdout is for the result
        from leyden.tools.evaluation_files import write_evaluation
        from leyden.tools.evaluator import Evaluator
        from leyden.tools.flow_quality import Asked, more_metrics, write_steps

        asked = Asked(args.steps, args.classifier, args.bits, args.fid, args.guidance, args.samples)
        if args.steps and args.no_files:
            raise UserError("--steps: writes a plot, so it cannot be combined with --no-files")
        evaluator = Evaluator(args.runs[0], args.data_root, args.data_path, args.accelerator)
        asked.prepare(evaluator.module)
        found = evaluator.evaluate_other(args.data) if args.data else evaluator.evaluate(args.split)
        found.metrics.update(more_metrics(evaluator, found, asked))
        report = None if args.no_files else write_evaluation(evaluator, found)
        if report and asked.steps:
            write_steps(report, asked.steps)
    for message in found.broken:
        print(f"error: --data: {message}", file=sys.stderr)
    if args.json:
        print(json.dumps(found.metrics, indent=2))
    else:
        from leyden.tools.evaluation_output import print_report

        print_report(evaluator, found, report)
    return 1 if found.broken else 0


def folds(args: argparse.Namespace) -> int:
    """Evaluate the folds of a cross-validation and print their metrics."""
    with redirect_stdout(sys.stderr):
        from leyden.tools.evaluate import evaluate_folds
        from leyden.tools.evaluation_output import print_folds

        found: dict[str, Any] = evaluate_folds(
            args.runs, data_root=args.data_root, data_path=args.data_path, accelerator=args.accelerator
        )
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print_folds(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
