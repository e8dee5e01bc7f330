"""Draw new images from a trained vae or gan, as one PNG; or let a language model write texts.

Examples:
    python scripts/sample.py logs/runs/mnist-gan/2026-11-22_12-00-00-1a2b3c4d
    python scripts/sample.py logs/runs/mnist-gan/2026-11-22_12-00-00-1a2b3c4d --num 100 --seed 1 --out digits.png
    python scripts/sample.py logs/runs/characters-gpt/RUN --num 3 --prompt "The statement" --temperature 0.8
    python scripts/sample.py logs/runs/characters-gpt/RUN --top-p 0.9 --length 2000 --out story.txt

Texts are printed, unless --out names a file. For temperature, top-k and top-p, the default is the run's own setting.
"""

import argparse
from pathlib import Path
from typing import Any

from leyden.config.exit_codes import exit_codes
from leyden.errors import UserError

TEXT_OPTIONS = ("prompt", "length", "temperature", "top_k", "top_p")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run folder of a vae, a gan or a language model")
    parser.add_argument("--num", type=int, help="number of images (default: 64) or texts (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives others (default: 0)")
    parser.add_argument("--out", type=Path, help="file to write (default: samples.png; texts are printed)")
    texts = parser.add_argument_group("texts")
    texts.add_argument("--prompt", help="how a text begins (default: like a new line)")
    texts.add_argument("--length", type=int, metavar="N", help="tokens after the prompt (default: 500)")
    texts.add_argument("--temperature", type=float, metavar="T", help="below 1: likely tokens become more likely")
    texts.add_argument("--top-k", type=int, metavar="K", help="draw one of the K most likely tokens; 0: no limit")
    texts.add_argument("--top-p", type=float, metavar="P", help="the most likely tokens with probability P together")
    args = parser.parse_args()
    with exit_codes():
        given = {name: vars(args)[name] for name in TEXT_OPTIONS if vars(args)[name] is not None}
        write(args, given)


def write(args: argparse.Namespace, texts: dict[str, Any]) -> None:
    """Write images or texts; `texts` are the options that only texts have."""
    from leyden.tools.sample import NUM_IMAGES, NUM_TEXTS, sample, sample_texts, writes_texts

    if writes_texts(args.run):
        num = NUM_TEXTS if args.num is None else args.num
        found = sample_texts(args.run, args.out, num, args.seed, **texts)
        print(args.out if args.out else found, end="\n" if args.out else "")
        return
    if texts:
        raise UserError(f"--{next(iter(texts)).replace('_', '-')}: applies only to runs that write texts (model=gpt)")
    out = args.out or Path("samples.png")
    sample(args.run, out, NUM_IMAGES if args.num is None else args.num, args.seed)
    print(out)


if __name__ == "__main__":
    main()
