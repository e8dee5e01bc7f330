"""Find a learning rate: train for some steps with a growing one, and look where the loss falls fastest.

Examples:
    python scripts/find_lr.py data=mnist model=mlp
    python scripts/find_lr.py data=folder data.root=photos model=resnet --out photos.png --steps 200
    python scripts/find_lr.py data=mnist model=cnn optimizer=sgd --min 1e-4 --max 10 --json

It writes a plot, prints an override, and leaves no run folder.
"""

import argparse
import json
from pathlib import Path

from leyden.config.exit_codes import exit_codes
from leyden.training.signals import exit_on_signals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="the training, as for python train.py")
    parser.add_argument("--min", type=float, default=1e-6, help="the first learning rate (default: 1e-6)")
    parser.add_argument("--max", type=float, default=1.0, help="the last learning rate (default: 1)")
    parser.add_argument("--steps", type=int, default=100, help="optimizer steps (default: 100)")
    parser.add_argument("--out", type=Path, default=Path("find_lr.png"), help="the plot (default: find_lr.png)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_intermixed_args()
    exit_on_signals()
    with exit_codes():
        from leyden.tools.find_lr import find_lr, plot

        found = find_lr(args.overrides, args.min, args.max, args.steps)
        plot(found, args.out)
    override = f"optimizer.lr={found.suggestion:g}"
    if args.json:
        values = {"suggestion": found.suggestion, "override": override, "diverged": found.diverged}
        print(json.dumps({**values, "rates": found.rates, "losses": found.losses, "plot": str(args.out)}))
        return
    end = (
        f"the loss grew from {found.rates[-1]:.1e} on"
        if found.diverged
        else "the loss did not grow; try a larger --max"
    )
    print(f"{len(found.losses)} steps; {end}\nplot: {args.out}\n\n{override}")


if __name__ == "__main__":
    main()
