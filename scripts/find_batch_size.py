"""Find a batch size: which sizes fit into the memory, and which one trains fastest on this device.

Examples:
    python scripts/find_batch_size.py data=mnist model=cnn
    python scripts/find_batch_size.py data=cifar10 model=resnet trainer=gpu trainer.precision=bf16-mixed
    python scripts/find_batch_size.py data=mnist model=mlp --min 32 --max 4096 --json

On the CPU, it stops before the process would need more than 80% of the memory (--memory). It leaves no run folder.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leyden.config.exit_codes import exit_codes
from leyden.errors import UserError
from leyden.training.signals import exit_on_signals

if TYPE_CHECKING:
    from leyden.tools.find_batch_size import Measurement


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="the training, as for python train.py")
    parser.add_argument("--min", type=int, default=8, help="the first batch size (default: 8)")
    parser.add_argument("--max", type=int, help="the last batch size (default: the number of training samples)")
    parser.add_argument("--memory", type=float, metavar="GB", help="limit for the process, on the CPU")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    args = parser.parse_intermixed_args()
    exit_on_signals()
    with exit_codes():
        found, reason = measure(args)
    from leyden.tools.find_batch_size import best

    override = f"data.batch_size={best(found).batch_size}"
    if args.json:
        print(json.dumps({"override": override, "end": reason, "sizes": [dataclasses.asdict(one) for one in found]}))
        return
    largest = found[-1].batch_size
    print(f"\nend: {reason}; the largest measured size is {largest:,}")
    print(f"{override} is the smallest size that is almost as fast as the fastest one. For another batch size, the")
    print("best learning rate is usually another one, too: python scripts/find_lr.py\n")
    print(override)


def measure(args: argparse.Namespace) -> tuple[Sequence["Measurement"], str]:
    """Measure all sizes, and print a row for each when it is known. Return them, and why the last one was the last."""
    from leyden.data.file_access import GB
    from leyden.tools.find_batch_size import BatchSizes

    if args.memory is not None and args.memory <= 0:
        raise UserError(f"--memory: got {args.memory}, must be above 0")
    sizes = BatchSizes(args.overrides, args.min, args.max, None if args.memory is None else round(args.memory * GB))
    found: list[Measurement] = []
    if not args.json:
        print(f"{'batch size':>10}  {'samples/s':>10}  {'ms/step':>9}  {'memory/GB':>9}")
    for one in sizes:
        found.append(one)
        if not args.json:
            memory = "" if one.memory is None else f"{one.memory / GB:.2f}"
            print(f"{one.batch_size:>10,}  {one.rate:>10,.0f}  {1000 * one.seconds:>9.2f}  {memory:>9}", flush=True)
    if not found:
        raise UserError(f"data.batch_size: {sizes.reason}. Use a smaller --min")
    return found, sizes.reason


if __name__ == "__main__":
    main()
