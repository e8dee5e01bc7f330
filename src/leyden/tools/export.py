"""Export a trained run to a file that other programs can load, and check the file before it gets its name."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import Tensor

from leyden.config.stored import loaded_config
from leyden.errors import UserError
from leyden.modules.translator import Translator
from leyden.records.run_folder import partial_path, writing
from leyden.tools.export_check import TOLERANCE, differences, find_samples
from leyden.tools.export_description import description, notes
from leyden.tools.export_formats import (
    FORMATS,
    Format,
    Outputs,
    exporting,
    read_onnx,
    read_safetensors,
    read_torch,
    write_onnx,
    write_torch,
)
from leyden.tools.exported_program import Program
from leyden.tools.load import load
from leyden.tools.safetensors_file import safetensors_bytes
from leyden.tools.trained_model import TrainedModel

Reader = Callable[[Path], Callable[[Tensor], Outputs]]


@dataclass(frozen=True)
class Export:
    """An exported file.

    Attributes:
        path: the file.
        about: what the file says about itself, see `description`.
        samples: the inputs with which the file was compared.
        differences: output → the largest difference from the module of the run, see `export_check.differences`.
        notes: what the user should know.
    """

    path: Path
    about: dict[str, Any]
    samples: str
    differences: dict[str, float]
    notes: tuple[str, ...]

    @property
    def largest_difference(self) -> float:
        """The largest difference of all outputs."""
        return max(self.differences.values())

    @property
    def ports(self) -> str:
        """Input and outputs in one line."""
        ports = [self.about["input"], *self.about["outputs"]]
        texts = [f"{port['name']} {port['dtype']} ({', '.join(map(str, port['shape']))})" for port in ports]
        return f"{texts[0]} → {', '.join(texts[1:])}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        described = {name: self.about[name] for name in ("format", "input", "outputs")}
        return {
            "file": str(self.path),
            "bytes": self.path.stat().st_size,
            **described,
            "compared_with": self.samples,
            "differences": self.differences,
            "largest_difference": self.largest_difference,
            "notes": list(self.notes),
        }


def export(run: str | Path, out: str | Path | None = None, format: str = "onnx") -> Export:
    """Export the best checkpoint of a run.

    The file is written under another name, loaded again and compared with the module of the run, with batches of 1 and
    7 samples. It gets its name only if no difference is above `TOLERANCE`.

    Args:
        run: a run folder.
        out: the file; None: the name of the run with the extension of the format, in the current folder.
        format: one of `FORMATS`. onnx and torch contain the preprocessing and compute in float32. safetensors contains
            the weights in the precision of the run, and its config; `leyden.load` reads it.

    Raises:
        UserError: the run cannot be loaded, the format lacks a package or an operation, or the file differs.
    """
    chosen = checked_format(format)
    model = load(run)
    check_exports(model, chosen)
    (path,) = file_names(run, [format], Path(out) if out else None).values()
    samples = find_samples(model)
    found, about = write_checked(model, chosen, path, samples.batch)
    return Export(path, about, samples.origin, found, notes(model, chosen))


def check_exports(model: TrainedModel, chosen: Format) -> None:
    """Raise UserError if a format cannot hold the model."""
    if chosen.name != "safetensors" and isinstance(model.module, Translator):
        raise UserError(
            f"--format {chosen.name}: does not apply to task=translation, because the number of steps of its search "
            "depends on the text. Use --format safetensors, which leyden.load reads"
        )


def file_names(run: str | Path, formats: Sequence[str], out: Path | None) -> dict[str, Path]:
    """Return format → the file to write: `out` for one format, `out` with the extension of each for several.

    Raises:
        UserError: a format does not exist or lacks a package, or the folder of the files cannot be created.
    """
    chosen = [checked_format(name) for name in formats]
    base = out.expanduser() if out else Path(safe_name(str(loaded_config(Path(run).expanduser()).name)))
    is_whole = out is not None and len(chosen) == 1
    paths = {one.name: base if is_whole else base.with_name(base.name + one.extension) for one in chosen}
    for path in paths.values():
        check_free(path)
    return paths


def safe_name(name: str) -> str:
    """Return the name of a run as the name of a file: the run folder may come from a stranger."""
    return re.sub(r"[^\w.-]", "-", name).lstrip(".-") or "model"


def check_free(path: Path) -> None:
    """Create the folder of a file. Raise UserError if the file cannot be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: cannot create the folder {path.parent} ({error.strerror})") from error
    if path.is_dir():
        raise UserError(f"--out: {path} is a folder, must be a file")


def checked_format(name: str) -> Format:
    """Return a format. Raise UserError if it does not exist or lacks a package."""
    if name not in FORMATS:
        raise UserError(f"--format: got {name}, must be one of {', '.join(FORMATS)}")
    FORMATS[name].check()
    return FORMATS[name]


def write_checked(
    model: TrainedModel, chosen: Format, path: Path, batch: Tensor
) -> tuple[dict[str, float], dict[str, Any]]:
    """Write the file, compare it with the module before it gets its name. Return differences and description.

    Raises:
        UserError: see `export`. Then a file that already had the name is unchanged.
    """
    about = description(model, chosen)
    content, read = build(model, chosen, about)
    with writing(path) as file:
        file.write(content)
        file.flush()
        with exporting(chosen.name):
            found = differences(model, batch, read(partial_path(path)))
        check_differences(found, path)
    return found, about


def build(model: TrainedModel, chosen: Format, about: dict[str, Any]) -> tuple[bytes, Reader]:
    """Return the content of the file, and the function that loads it. Converts the module to float32 if necessary."""
    if chosen.name == "safetensors":
        config = OmegaConf.to_yaml(model.config)
        return safetensors_bytes(model.module.state_dict(), {**about, "config": config}), read_safetensors
    program, text = Program(model), json.dumps(about)
    if chosen.name == "torch":
        return write_torch(program, text), read_torch
    return write_onnx(program, text), read_onnx


def check_differences(found: dict[str, float], path: Path) -> None:
    """Raise UserError if a difference is above `TOLERANCE`."""
    for name, difference in found.items():
        if not difference <= TOLERANCE:
            raise UserError(
                f"{path}: is not written, because its {name} differ from those of the run by {difference:.2g}, which "
                f"is more than {TOLERANCE:g}. Another --format may be exact"
            )
