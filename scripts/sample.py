"""Draw new images from a trained vae, gan or flow, as one PNG; or let a language model write texts.

Examples:
    python scripts/sample.py logs/runs/mnist-gan/2026-11-22_12-00-00-1a2b3c4d
    python scripts/sample.py logs/runs/mnist-gan/2026-11-22_12-00-00-1a2b3c4d --num 100 --seed 1 --out digits.png
    python scripts/sample.py logs/runs/mnist-flow/RUN --class 7 --guidance 2 --steps 50 --sampler euler
    python scripts/sample.py logs/runs/mnist-flow/RUN --interpolate --class 3 8
    python scripts/sample.py logs/runs/mnist-flow/RUN --inpaint seven.png --box 14 0 14 28
    python scripts/sample.py logs/runs/characters-gpt/RUN --num 3 --prompt "The statement" --temperature 0.8
    python scripts/sample.py logs/runs/characters-gpt/RUN --top-p 0.9 --length 2000 --out story.txt

Texts are printed, unless --out names a file. Where no default is named, it is the run's own setting.
"""

import argparse
from pathlib import Path
from typing import Any

from leyden.config.exit_codes import exit_codes
from leyden.errors import UserError

TEXT_OPTIONS = ("prompt", "length", "temperature", "top_k", "top_p")
FLOW_OPTIONS = ("classes", "guidance", "num_steps", "sampler")


def main() -> None:
    args = parser().parse_args()
    with exit_codes():
        write(args)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run folder of a vae, a gan, a flow or a language model")
    num = "number of images (default: 64), rows of --interpolate (8), results of --inpaint (14), or texts (1)"
    parser.add_argument("--num", type=int, help=num)
    parser.add_argument("--seed", type=int, default=0, help="another seed gives others (default: 0)")
    parser.add_argument("--out", type=Path, help="file to write (default: samples.png; texts are printed)")
    flows = parser.add_argument_group("images of a flow (model=flow, dit or ddpm)")
    flows.add_argument("--class", dest="classes", nargs="+", metavar="NAME", help="one for each image or row in turn")
    flows.add_argument("--guidance", type=float, metavar="G", help="above 1: more typical of the class; 0: no class")
    flows.add_argument("--steps", dest="num_steps", type=int, metavar="N", help="from noise to image")
    flows.add_argument("--sampler", help="euler, heun, ddim or dopri5 (adaptive)")
    flows.add_argument("--interpolate", action="store_true", help="each row goes from one noise to another")
    flows.add_argument("--inpaint", type=Path, metavar="IMAGE", help="fill a part of an image in several ways")
    box = ("TOP", "LEFT", "HEIGHT", "WIDTH")
    flows.add_argument("--box", type=int, nargs=4, metavar=box, help="this part, in pixels (default: the lower half)")
    texts = parser.add_argument_group("texts")
    texts.add_argument("--prompt", help="how a text begins (default: like a new line)")
    texts.add_argument("--length", type=int, metavar="N", help="tokens after the prompt (default: 500)")
    texts.add_argument("--temperature", type=float, metavar="T", help="below 1: likely tokens become more likely")
    texts.add_argument("--top-k", type=int, metavar="K", help="draw one of the K most likely tokens; 0: no limit")
    texts.add_argument("--top-p", type=float, metavar="P", help="the most likely tokens with probability P together")
    return parser


def write(args: argparse.Namespace) -> None:
    """Write images or texts."""
    from leyden.tools.sample import NUM_TEXTS, sample_texts, writes_texts

    texts, flows = (given(args, names) for names in (TEXT_OPTIONS, FLOW_OPTIONS))
    if writes_texts(args.run):
        if flows or args.interpolate or args.inpaint or args.box:
            raise UserError("--class, --guidance, --steps, --sampler, --interpolate, --inpaint: do not apply to texts")
        num = NUM_TEXTS if args.num is None else args.num
        found = sample_texts(args.run, args.out, num, args.seed, **texts)
        print(args.out if args.out else found, end="\n" if args.out else "")
        return
    if texts:
        raise UserError(f"--{next(iter(texts)).replace('_', '-')}: applies only to runs that write texts (model=gpt)")
    out = args.out or Path("samples.png")
    write_images(args, out, flows)
    print(out)


def write_images(args: argparse.Namespace, out: Path, options: dict[str, Any]) -> None:
    """Write a PNG of samples, interpolations, or ways to fill a part of an image."""
    from leyden.tools.sample import NUM_FILLED, NUM_IMAGES, NUM_ROWS, fill_in, interpolate, sample

    if args.box and not args.inpaint:
        raise UserError("--box: needs an image, --inpaint IMAGE")
    if args.interpolate and args.inpaint:
        raise UserError("--interpolate: cannot be combined with --inpaint")
    default = NUM_ROWS if args.interpolate else NUM_FILLED if args.inpaint else NUM_IMAGES
    num = default if args.num is None else args.num
    if args.interpolate:
        interpolate(args.run, out, num, args.seed, **options)
    elif args.inpaint:
        fill_in(args.run, out, args.inpaint, args.box, num, args.seed, **options)
    else:
        sample(args.run, out, num, args.seed, **options)


def given(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the options that are given."""
    return {name: vars(args)[name] for name in names if vars(args)[name] is not None}


if __name__ == "__main__":
    main()
