"""Export a trained run for other programs: ONNX, torch.export (.pt2) or safetensors. The data set is not needed.

Examples:
    python scripts/export.py logs/runs/mnist-cnn/RUN --format onnx --out exported/digits.onnx --card
    python scripts/export.py logs/runs/mnist-cnn/RUN --format torch --out exported/digits.pt2
    python scripts/export.py logs/runs/mnist-cnn/RUN --format onnx,torch,safetensors --out exported/digits --card

ONNX and .pt2 files contain the preprocessing. They take uint8 images, raw table rows or windows of a series in batches
of any size, and compute in float32. A vae or gan is exported as its generator, from latents to images. A safetensors
contains the weights and the config; leyden.load reads it. Each file is loaded again and compared with the run before it
gets its name. ONNX needs: pip install -e ".[onnx]". safetensors needs: pip install -e ".[safetensors]".
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from leyden.config.exit_codes import exit_codes

if TYPE_CHECKING:
    from leyden.tools.export import Export


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "--format",
        default="onnx",
        metavar="FORMAT",
        help="onnx, torch or safetensors, or several of them with commas between (default: onnx)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="file to write; for several formats its name without the extension (default: the name of the run)",
    )
    parser.add_argument(
        "--card", action="store_true", help="write a model card, README.md, into the folder of the file"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object per file")
    args = parser.parse_args()
    with exit_codes():
        run(args)


def run(args: argparse.Namespace) -> None:
    """Export to all formats, print the results, and write the card."""
    from rich.console import Console

    from leyden.records.run_folder import write_text
    from leyden.tools.export import export, file_names
    from leyden.tools.model_card import checked_card, model_card

    names = file_names(args.run, args.format.split(","), args.out)
    card = checked_card(next(iter(names.values())).parent) if args.card else None
    for name, path in names.items():
        with Console(file=sys.stderr).status(f"exporting {path.name}"):
            found = export(args.run, path, name)
        print(json.dumps(found.as_dict()) if args.json else described(found))
    if card:
        write_text(card, model_card(args.run, names))
        if not args.json:
            print(card)


def described(found: "Export") -> str:
    """Return lines about an exported file."""
    from leyden.data.datamodule import printable

    lines = [
        f"{found.path}: {found.path.stat().st_size:,} bytes",
        f"  {found.ports}",
        f"  largest difference from the run: {found.largest_difference:.2g} ({found.samples})",
        *(f"  note: {note}" for note in found.notes),
    ]
    return "\n".join(map(printable, lines))


if __name__ == "__main__":
    main()
