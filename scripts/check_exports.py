"""Train every model for a few steps on every data set that fits it and needs no download, and export it to all formats.

    python scripts/check_exports.py [MODEL …] [--formats onnx torch safetensors]

Prints a Markdown table: the largest difference between each file and the module, or why there is no file. The exit code
is 1 if an export failed. Takes about 10 minutes for all pairs on two cores.
"""

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from leyden.config.compose import compose, groups
from leyden.errors import UserError
from leyden.run import run
from leyden.tools.export import export

DATA = ("digits", "synthetic", "digit_pairs", "digit_strings", "diabetes", "series")
FAST = ("trainer=smoke", "trainer.max_epochs=1", "trainer.deterministic=false", "logger=none")
SMALL = {
    "pretrained": ("model.name=shufflenet_v2_x0_5", "model.weights=none", "model.size=32"),
    "autoencoder": ("model.channels=[4,8]",),
    "gan": ("model.channels=[4,8]", "task.num_samples=100"),
    "vae": ("model.channels=[4,8]", "task.num_samples=100"),
    "flow": ("model.widths=[8,8]", "task.num_samples=100", "task.num_steps=2"),
    "ddpm": ("model.widths=[8,8]", "task.num_samples=100", "task.num_steps=2"),
    "dit": ("model.dim=16", "model.num_layers=1", "task.num_samples=100", "task.num_steps=2"),
    "transformer": ("model.dim=16", "model.num_layers=2"),
    "seq2seq": ("model.dim=16", "model.num_layers=1"),
    "lstm": ("model.num_layers=2", "model.dropout=0.1", "model.bidirectional=true"),
}
SIZES = ("data.shape=[3,32,32]", "data.mean=null", "data.std=null", "data.num_train=200", "data.num_test=40")
EXTRA = {"synthetic": SIZES}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=groups()["model"], help="default: all")
    parser.add_argument("--formats", nargs="+", default=["onnx", "torch", "safetensors"], help="default: all")
    args = parser.parse_args()
    print("| model | data | task |", " | ".join(args.formats), "|")
    print("|---|---|---|" + "---|" * len(args.formats), flush=True)
    failed = 0
    for model, data, folder in trained(args.models):
        results = [result(folder, name) for name in args.formats]
        failed += sum(not text[0].isdigit() for text in results)
        task = compose(f"model={model}", f"data={data}", *EXTRA.get(data, ())).task["_target_"].rpartition(".")[2]
        print(f"| {model} | {data} | {task} |", " | ".join(results), "|", flush=True)
    return 1 if failed else 0


def trained(models: list[str]) -> Iterator[tuple[str, str, Path]]:
    """Yield model, data set and run folder of each pair that can be trained."""
    for model in models:
        for data in DATA:
            overrides = [f"model={model}", f"data={data}", *SMALL.get(model, ()), *EXTRA.get(data, ()), *FAST]
            with tempfile.TemporaryDirectory() as logs:
                try:
                    with contextlib.redirect_stdout(io.StringIO()):
                        run(compose(*overrides, f"paths.logs={logs}"))
                except UserError as error:
                    print(f"{model} on {data}: {error}", file=sys.stderr, flush=True)
                    continue
                (folder,) = Path(logs).glob("runs/*/*")
                yield model, data, folder


def result(folder: Path, name: str) -> str:
    """Export a run. Return the largest difference and the size of the file, or the error."""
    path = folder / f"model.{name}"
    try:
        found = export(folder, path, name)
    except UserError as error:
        return str(error)
    return f"{max(found.differences.values()):.1e}"


if __name__ == "__main__":
    sys.exit(main())
