"""Show the progress of long work: a bar in a terminal, otherwise a line every few seconds."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import track

INTERVAL = 5.0  # seconds between two lines

Item = TypeVar("Item")


def progress(what: str, items: Iterable[Item], total: int) -> Iterator[Item]:
    """Iterate over `items` and show the progress. Outside of a terminal, work of less than a second prints nothing.

    Args:
        what: description of the work, for example "decoding 3,000 images".
        items: the items to iterate over.
        total: number of items.
    """
    if sys.stdout.isatty():
        yield from track(items, what, total)
        return
    began, shown = time.perf_counter(), 0.0
    for number, item in enumerate(items, 1):
        yield item
        seconds = time.perf_counter() - began
        if seconds > 1 and (not shown or number == total or seconds - shown > INTERVAL):
            print(f"{what}  {number / total:.0%}  {seconds:.1f} s", flush=True)
            shown = seconds
