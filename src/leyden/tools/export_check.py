"""Compare a program that was loaded from a file with the module of the run, on the same inputs."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from leyden.data.datamodule import InMemoryData
from leyden.errors import UserError
from leyden.modules.forecaster import Forecaster
from leyden.modules.generative import GenerativeModule
from leyden.modules.regressor import Regressor
from leyden.seeding import generator
from leyden.tools.exported_program import input_port, module_outputs, type_name
from leyden.tools.trained_model import TrainedModel

BATCHES = (1, 7)  # sizes; they differ from the size with which a program is traced
TOLERANCE = 1e-4

Outputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Samples:
    """Inputs for a comparison: a raw batch (8, ...), and what it is."""

    batch: Tensor
    origin: str


def find_samples(model: TrainedModel) -> Samples:
    """Return validation samples of the run if the files of its data set are here, and random inputs otherwise."""
    num = sum(BATCHES)
    if isinstance(model.module, GenerativeModule):
        latents = torch.randn(num, model.module.latent_size, generator=generator(0, "export"))
        return Samples(latents, "random latents, which are what the model takes")
    found = validation_samples(model.data)
    if found is not None:
        found = found.to(getattr(torch, input_port(model).dtype))  # token ids are stored as small integers
        return Samples(found[torch.arange(num) % len(found)], "validation samples")
    return Samples(random_inputs(model, num), "random inputs, because the files of the data set are not here")


def validation_samples(data: InMemoryData) -> Tensor | None:
    """Return the inputs of the validation split, or None if they cannot be read. Nothing is downloaded."""
    if not all(path.exists() for path in data.files()):
        return None
    try:
        with warnings.catch_warnings(action="ignore"):
            data.prepare_data()
            data.setup("fit")
    except UserError:
        return None
    assert data.val is not None
    return data.val[0]


def random_inputs(model: TrainedModel, num: int) -> Tensor:
    """Return random inputs, (num, ...): pixels, token ids, or numbers distributed as in the training split."""
    port, rng = input_port(model), generator(0, "export")
    if port.dtype == "uint8":
        return torch.randint(0, 256, (num, *port.shape), generator=rng, dtype=torch.uint8)
    if port.dtype == "int64":
        return torch.randint(2, int(model.config.data.vocab_size), (num, *port.shape), generator=rng)
    values = torch.randn(num, *port.shape, generator=rng)
    if isinstance(model.module, Regressor | Forecaster):
        scaling = model.module.scaling
        return values * scaling.std + scaling.mean
    return values


def differences(model: TrainedModel, batch: Tensor, program: Callable[[Tensor], Outputs]) -> dict[str, float]:
    """Return output → the largest difference between a program and the module of the run, over batches of `BATCHES`.

    A difference is in standard deviations of the target for predicted numbers. For all other outputs it is absolute up
    to a value of 1 (probabilities, pixels), and relative to larger values.

    Args:
        model: the model, in the precision of the program.
        batch: raw inputs, as many as all batches together have.
        program: the exported program, which takes a raw batch.

    Raises:
        UserError: an output is missing, or has another type or shape.
    """
    largest: dict[str, float] = {}
    for raw in torch.split(batch, list(BATCHES)):
        expected, found = module_outputs(model, raw), program(raw)
        if list(expected) != list(found):
            raise UserError(f"export: the outputs are {', '.join(found)}, must be {', '.join(expected)}")
        for name, value in expected.items():
            difference = largest_difference(found[name], value, unit(model, value))
            largest[name] = max(difference, largest.get(name, 0.0))
    return largest


def unit(model: TrainedModel, expected: Tensor) -> Tensor:
    """Return the unit of a difference, see `differences`."""
    if isinstance(model.module, Regressor | Forecaster):
        return model.module.scaling.target_std
    return expected.double().abs().clamp(min=1)


def largest_difference(found: Tensor, expected: Tensor, unit: Tensor) -> float:
    """Return the largest difference of two tensors in a unit; infinity for NaN.

    Raises:
        UserError: they differ in type or shape.
    """
    if found.dtype != expected.dtype or found.shape != expected.shape:
        theirs, ours = (f"{type_name(one)} {list(one.shape)}" for one in (found, expected))
        raise UserError(f"export: an output is {theirs}, must be {ours}")
    difference = ((found.double() - expected.double()).abs() / unit.double()).max()
    return float(difference) if difference.isfinite() else float("inf")
