"""The program that is exported: the preprocessing of a run, its net, and named outputs. It computes in float32."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

from leyden.data.loaders import Normalise
from leyden.modules.generative import GenerativeModule
from leyden.tools.trained_model import TrainedModel

INPUT_NAMES = {"image": "images", "row": "rows", "series": "windows", "text": "ids", None: "inputs"}


@dataclass(frozen=True)
class Port:
    """An input or output of a program: its name, the type of its values, and its shape without the batch."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join(map(str, ('N', *self.shape)))})"

    def zeros(self, num: int) -> Tensor:
        """Return a batch of zeros, (num, ...)."""
        return torch.zeros(num, *self.shape, dtype=getattr(torch, self.dtype))


class Program(nn.Module):
    """From a raw batch to named outputs, see `BaseModule.predict`.

    The input is uint8 images (N, C, H, W) of the size of the run, raw rows float32 (N, F), or windows float32
    (N, window, 1), or token ids int64 (N, T). A model that generates images takes latents float32 (N, latent_size).

    Args:
        model: a loaded model in float32, on the CPU.
    """

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.module = model.module.requires_grad_(False)
        self.transform = preprocessing(model)
        self.input = input_port(model)
        self.outputs = output_ports(model)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        return self.module.predict(self.transform(inputs))


class Preprocessing(nn.Module):
    """`Normalise` with its statistics as buffers."""

    scale: Tensor
    offset: Tensor

    def __init__(self, normalise: Normalise) -> None:
        super().__init__()
        self.register_buffer("scale", normalise.scale)
        self.register_buffer("offset", normalise.offset)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.float() * self.scale + self.offset  # (B, C, H, W)


def preprocessing(model: TrainedModel) -> Callable[[Tensor], Tensor]:
    """Return what is applied to a raw batch before the module."""
    if isinstance(model.module, GenerativeModule):
        return nn.Identity()
    transform = model.transform_of_batches()
    return Preprocessing(transform) if isinstance(transform, Normalise) else transform


def input_port(model: TrainedModel) -> Port:
    """Return the input that the program of a model takes."""
    if isinstance(model.module, GenerativeModule):
        return Port("latents", "float32", (model.module.latent_size,))
    kind = model.data.input_kind
    dtype = "uint8" if kind == "image" else "int64" if kind == "text" else "float32"
    return Port(INPUT_NAMES[kind], dtype, tuple(model.data.shape))


def output_ports(model: TrainedModel) -> tuple[Port, ...]:
    """Return the outputs of the program of a model."""
    found = module_outputs(model, input_port(model).zeros(2))
    return tuple(Port(name, type_name(value), tuple(value.shape[1:])) for name, value in found.items())


@torch.no_grad()
def module_outputs(model: TrainedModel, raw: Tensor) -> dict[str, Tensor]:
    """Return what the module of a run predicts for a raw batch (B, ...), which is prepared as its loaders do it."""
    if isinstance(model.module, GenerativeModule):
        return model.module.predict(raw.to(next(model.module.parameters()).dtype))
    return model.module.predict(model.batch(list(raw)))


def type_name(tensor: Tensor) -> str:
    """Return ``float32``, for example."""
    return str(tensor.dtype).removeprefix("torch.")


def traced(program: Program) -> ExportedProgram:
    """Return the operations of a program, for batches of any size. It holds no weight that the outputs do not need.

    The names of the source files, which torch writes next to each operation, are removed: they show folders of this
    machine.
    """
    exported = trace(program)
    if unused := unused_modules(program, used_tensors(exported)):
        for name in unused:
            program.set_submodule(name, nn.Identity())
        exported = trace(program)
    for graph in exported.graph_module.modules():
        for node in graph.graph.nodes if isinstance(graph, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return exported


def trace(program: Program) -> ExportedProgram:
    """Call `torch.export.export` with a batch of zeros: the file holds its example inputs."""
    with torch.no_grad():
        return torch.export.export(
            program, (program.input.zeros(2),), dynamic_shapes={"inputs": {0: Dim("batch")}}, strict=False
        )


def used_tensors(exported: ExportedProgram) -> set[str]:
    """Return the names of the weights and buffers that an operation uses."""
    users = {node.name: bool(node.users) for node in exported.graph.nodes if node.op == "placeholder"}
    kinds = (InputKind.PARAMETER, InputKind.BUFFER)
    specs = [spec for spec in exported.graph_signature.input_specs if spec.kind in kinds]
    return {spec.target for spec in specs if spec.target and users[spec.arg.name]}


def unused_modules(program: nn.Module, used: set[str]) -> list[str]:
    """Return the names of the submodules whose weights and buffers are all unused.

    A submodule without weights and buffers is not returned, and neither is one inside a submodule that is returned.

    Args:
        program: the program, for example a `Program`.
        used: names of the weights and buffers that are used.
    """
    found: list[str] = []
    for name, module in program.named_modules():
        # Not from `state_dict`: a hook can change the names in it.
        names = {f"{name}.{tensor}" for tensor, _ in (*module.named_parameters(), *module.named_buffers())}
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if name and names and not inside and names.isdisjoint(used):
            found.append(name)
    return found


def num_bytes(program: nn.Module) -> int:
    """Return the size of all weights and buffers."""
    tensors = [*program.parameters(), *program.buffers()]
    return sum(math.prod(tensor.shape) * tensor.element_size() for tensor in tensors)
