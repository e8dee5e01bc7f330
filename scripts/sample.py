"""Draw new images from a trained vae or gan, as a PNG.

python scripts/sample.py logs/runs/mnist-gan/2026-11-22_12-00-00-1a2b
python scripts/sample.py logs/runs/mnist-gan/2026-11-22_12-00-00-1a2b --num 100 --seed 1 --out digits.png
"""

import argparse
from pathlib import Path

from leyden.config.exit_codes import exit_codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--num", type=int, default=64, help="how many (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="other seeds, other images (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("samples.png"), help="file to write (default: samples.png)")
    args = parser.parse_args()
    with exit_codes():
        sample(args.run, args.num, args.seed, args.out)
    print(args.out)


def sample(run: Path, num: int, seed: int, out: Path) -> None:
    """Write a grid of `num` images to `out`.

    Raises:
        UserError: the run's model makes no images, or there is none to be made.
    """
    import leyden
    from leyden.errors import UserError
    from leyden.modules.generative import GenerativeModule
    from leyden.modules.plots import grid
    from leyden.seeding import generator
    from leyden.training.image_logger import write_png

    if num < 1:
        raise UserError(f"--num: got {num}, must be at least 1")
    module = leyden.load(run)
    if not isinstance(module, GenerativeModule):
        raise UserError(f"{run}: its model makes no images; vae and gan do")
    write_png(out, grid(module.sample(num, generator(seed, "samples"))))


if __name__ == "__main__":
    main()
