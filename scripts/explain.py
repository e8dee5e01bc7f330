"""Explain the predictions of a run: which pixels of an image, or which words of a text, does the model use?

Examples:
    python scripts/explain.py logs/runs/mnist-cnn/RUN seven.png --out explained
    python scripts/explain.py logs/runs/folder-pretrained/RUN photos/new 'more/*.jpg' --out explained
    python scripts/explain.py logs/runs/imdb-bag/RUN "What a film!" review.txt --out explained
    python scripts/explain.py logs/runs/translation-seq2seq/RUN "5. März 2021" --out explained

Writes FOLDER/NAME-explained.png for each image, and FOLDER/overview.png. Integrated gradients, Grad-CAM and occlusion
need captum: pip install -e ".[explain]". A transformer or seq2seq also gets maps of its attention. Of a text it writes
NAME-explained.png, in which a word is the redder, the more the score of the prediction falls without it. Of a text to
translate it writes NAME-attention.png: a row for each symbol of the translation, which is darker where the model reads
the source. A broken file is reported, and the others are explained. Then the exit code is 1.
"""

import argparse
import sys
from pathlib import Path

from leyden.config.exit_codes import exit_codes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="image files, folders or glob patterns; texts, or files with texts"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the folder to write to")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps (default: cpu)")
    args = parser.parse_args()
    with exit_codes():
        return run(args)


def run(args: argparse.Namespace) -> int:
    """Explain the inputs and write the files. Return the exit code."""
    import leyden
    from leyden.data.texts import TextData
    from leyden.tools.devices import checked_device
    from leyden.tools.explain import Explainer
    from leyden.tools.explanation_files import write_explanations, write_texts
    from leyden.tools.input_files import find_inputs

    model = leyden.load(args.run).to(checked_device(args.device))
    explainer = None if isinstance(model.data, TextData) else Explainer(model)
    inputs = list(find_inputs(model, args.inputs))
    written = write_explanations(explainer, inputs, args.out) if explainer else write_texts(model, inputs, args.out)
    for message in written.broken:
        print(f"error: {message}", file=sys.stderr)
    if not written.paths:
        return 2
    last = ", overview.png last" if written.paths[-1].name == "overview.png" else ""
    print(f"written to {args.out}: {len(written.paths)} files{last}")
    for note in explainer.notes() if explainer else ():
        print(f"  {note}")
    return 1 if written.broken else 0


if __name__ == "__main__":
    sys.exit(main())
