"""Parts of documents that scripts write: tables between two comments."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import torch

from leyden.records.report import device_name
from leyden.records.run_folder import write_text


def spread(values: Sequence[float], digits: int) -> str:
    """Return mean and standard deviation, for example ``99.12 ± 0.05``."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):,.{digits}f}{deviation}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])


def measured_with(command: str, seeds: Sequence[int]) -> str:
    """Return the sentence below a table: the command, the seeds and the hardware."""
    numbers = " ".join(map(str, seeds))
    means = f"Mean ± standard deviation over the seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else "One seed"
    return (
        f"{means}. `{command} --seeds {numbers}`.\n"
        f"{cpu_name()}, {device_name(torch.device('cpu'))}; torch {torch.__version__}."
    )


def cpu_name() -> str:
    """Return the name of the processor, if the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def replace_part(document: Path, name: str, text: str) -> None:
    """Replace what stands in `document` between the comments of the part `name`. All other text is kept.

    Raises:
        ValueError: the document has no such part.
    """
    begin, end = f"<!-- written by scripts/{name} -->", f"<!-- end of {name} -->"
    before, rest = document.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    write_text(document, f"{before}{begin}\n{text.strip()}\n{end}{after}")
