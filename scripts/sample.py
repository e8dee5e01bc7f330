"""Draw new images from a trained vae or gan, as one PNG.

Examples:
    python scripts/sample.py logs/runs/mnist-gan/2026-11-22_12-00-00-1a2b3c4d
    python scripts/sample.py logs/runs/mnist-gan/2026-11-22_12-00-00-1a2b3c4d --num 100 --seed 1 --out digits.png
"""

import argparse
from pathlib import Path

from leyden.config.exit_codes import exit_codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run folder of a vae or a gan")
    parser.add_argument("--num", type=int, default=64, help="number of images (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other images (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("samples.png"), help="file to write (default: samples.png)")
    args = parser.parse_args()
    with exit_codes():
        from leyden.tools.sample import sample

        sample(args.run, args.out, args.num, args.seed)
    print(args.out)


if __name__ == "__main__":
    main()
