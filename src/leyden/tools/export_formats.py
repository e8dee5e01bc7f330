"""The file formats of exports: ONNX, torch.export (.pt2) and safetensors.

Each file also holds a JSON text with the name ``leyden``, see `leyden.tools.export.description`: as a metadata property
in ONNX, as an extra file in a .pt2 archive, and as an entry of the metadata in a safetensors file.
"""

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leyden.errors import UserError
from leyden.records.run_folder import one_line
from leyden.tools.exported_program import Program, module_outputs, num_bytes, traced
from leyden.tools.safetensors_file import KEY, load_safetensors

MAX_ONNX_BYTES = (1 << 31) - (1 << 24)  # a protobuf message is smaller than 2 GiB

Outputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        name: as on the command line.
        extension: of its files, with the dot.
        packages: optional packages that it needs.
        title: for the model card.
    """

    name: str
    extension: str
    packages: tuple[str, ...]
    title: str

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [package for package in self.packages if find_spec(package) is None]

    def check(self) -> None:
        """Raise UserError if a package is missing."""
        if missing := self.missing():
            listed = " and ".join(filter(None, [", ".join(self.packages[:-1]), self.packages[-1]]))
            raise UserError(
                f'--format {self.name}: needs {listed}, but {missing[0]} is missing: pip install -e ".[{self.name}]"'
            )


FORMATS = {
    one.name: one
    for one in (
        Format("onnx", ".onnx", ("onnx", "onnxscript", "onnxruntime"), "onnxruntime"),
        Format("torch", ".pt2", (), "plain torch"),
        Format("safetensors", ".safetensors", ("safetensors",), "safetensors"),
    )
}


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what torch's exporters print, log and warn about: hundreds of lines for a model that works."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def exporting(name: str) -> Iterator[None]:
    """Turn any error of an exporter into one line: what it raises for an operation that it lacks is not documented."""
    try:
        with quiet():
            yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"--format {name}: this model cannot be exported ({type(error).__name__}: {one_line(error)})"
        ) from error


def write_onnx(program: Program, about: str) -> bytes:
    """Return a program as an ONNX model. The first axis of its input and outputs has the name ``batch``."""
    if num_bytes(program) > MAX_ONNX_BYTES:
        raise UserError("--format onnx: the weights are larger than 2 GB, which one file cannot hold. Use torch")
    with exporting("onnx"):
        names = [port.name for port in program.outputs]
        exported = torch.onnx.export(
            traced(program), (), dynamo=True, verbose=False, input_names=[program.input.name], output_names=names
        )
        assert exported is not None
        proto = exported.model_proto
        rename_batch(proto)
        for node in proto.graph.node:
            del node.metadata_props[:]  # which Python code an operation comes from
        entry = proto.metadata_props.add()
        entry.key, entry.value = KEY, about
        content: bytes = proto.SerializeToString()
    return content


def rename_batch(proto: Any) -> None:
    """Rename the size of a batch, for which torch chooses names such as ``s77``, to ``batch``."""
    before = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                dim.dim_param = re.sub(rf"\b{re.escape(before)}\b", "batch", dim.dim_param)


def write_torch(program: Program, about: str) -> bytes:
    """Return a program as a .pt2 archive of torch.export."""
    file = io.BytesIO()
    with exporting("torch"):
        torch.export.save(traced(program), file, extra_files={KEY: about})
    return file.getvalue()


def read_onnx(path: Path) -> Callable[[Tensor], Outputs]:
    """Return an ONNX model as a function of a batch, computed by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (name,) = (port.name for port in session.get_inputs())
    names = [port.name for port in session.get_outputs()]

    def call(batch: Tensor) -> Outputs:
        values = session.run(names, {name: batch.numpy()})
        return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}

    return call


def read_torch(path: Path) -> Callable[[Tensor], Outputs]:
    """Return a .pt2 archive as a function of a batch. Only for a file of this process: it can execute code."""
    with path.open("rb") as file:
        module = torch.export.load(file).module()

    def call(batch: Tensor) -> Outputs:
        with torch.no_grad():
            outputs: Outputs = module(batch)
        return outputs

    return call


def read_safetensors(path: Path) -> Callable[[Tensor], Outputs]:
    """Return the model in a safetensors file as a function of a raw batch."""
    model = load_safetensors(path)
    return lambda batch: module_outputs(model, batch)
