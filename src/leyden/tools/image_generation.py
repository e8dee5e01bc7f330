"""Images of a trained flow: of chosen classes, with other steps or guidance, interpolations, and inpainting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leyden.data.datamodule import printable
from leyden.errors import UserError
from leyden.modules import plots
from leyden.modules.flow import Flow
from leyden.modules.image_sampling import ImageSampling, inpaint
from leyden.seeding import generator
from leyden.tools.trained_model import TrainedModel

GREY = 0.5  # of the pixels that are to be filled


@dataclass(frozen=True)
class Wanted:
    """What is asked for. None: as the config of the run says.

    Args:
        classes: names of classes, one for each image in turn. Empty: at random, as often as in the training set.
        sampler, num_steps, guidance: see `ImageSampling`.
    """

    classes: Sequence[str] = ()
    sampler: str | None = None
    num_steps: int | None = None
    guidance: float | None = None

    def __bool__(self) -> bool:
        return self != Wanted()


def flow_of(model: TrainedModel, option: str) -> Flow:
    """Return the module of a run that generates images by flow matching or diffusion.

    Raises:
        UserError: it does something else; `option` does not apply.
    """
    if not isinstance(model.module, Flow):
        raise UserError(f"{option}: applies only to runs of task=flow (model=flow, dit or ddpm)")
    return model.module


def settings(module: Flow, wanted: Wanted) -> ImageSampling:
    """Return how images are drawn.

    Raises:
        UserError: a value is out of its range.
    """
    try:
        return module.sampling.changed(sampler=wanted.sampler, num_steps=wanted.num_steps, guidance=wanted.guidance)
    except ValueError as error:
        options = {"sampler": "--sampler", "num_steps": "--steps", "guidance": "--guidance"}
        name, _, rest = str(error).partition(":")
        raise UserError(f"{options[name]}:{rest}") from error


def class_numbers(model: TrainedModel, names: Sequence[str]) -> list[int]:
    """Return the numbers of classes.

    Raises:
        UserError: there is no such class, or the run has learned images without their classes.
    """
    module = flow_of(model, "--class")
    if names and not module.with_class:
        raise UserError("--class: does not apply, because the images of this data set show several classes")
    known = list(model.classes or map(str, range(module.quality.num_classes)))
    for name in names:
        if name not in known:
            raise UserError(f"--class: got {printable(name)}, must be one of {', '.join(map(printable, known))}")
    return [known.index(name) for name in names]


def drawn(model: TrainedModel, num: int, seed: int, wanted: Wanted) -> Tensor:
    """Return new images, float (num, C, H, W), 0 to 1.

    Raises:
        UserError: the run is no flow, or a value is not allowed.
    """
    module = flow_of(model, "--class, --guidance, --steps and --sampler")
    sampling, (noise, classes) = settings(module, wanted), start(model, num, seed, wanted)
    return module.generated(noise, classes, sampling)


def start(model: TrainedModel, num: int, seed: int, wanted: Wanted) -> tuple[Tensor, Tensor]:
    """Return noise, (num, C, H, W), and classes, (num, K), of new images."""
    module, numbers = flow_of(model, "--class"), class_numbers(model, wanted.classes)
    noise, classes = module.split(module.random_latents(num, generator(seed, "samples")))
    if numbers:
        chosen = torch.tensor([numbers[index % len(numbers)] for index in range(num)], device=noise.device)
        classes = module.one_hot(chosen)
    return noise, classes


def interpolated(model: TrainedModel, num_rows: int, seed: int, wanted: Wanted) -> Tensor:
    """Return a grid, (C, height, width), 0 to 1: each row goes from one noise to another within a class.

    Raises:
        UserError: the run is no flow, or a value is not allowed.
    """
    module = flow_of(model, "--interpolate")
    numbers = class_numbers(model, wanted.classes) or list(range(module.quality.num_classes))
    noise, _ = start(model, 2 * num_rows, seed, Wanted())
    rows = [numbers[row % len(numbers)] for row in range(num_rows)]
    return module.interpolations(noise, rows, settings(module, wanted))


@torch.no_grad()
def inpainted(
    model: TrainedModel, image: Any, box: Sequence[int] | None, num: int, seed: int, wanted: Wanted
) -> Tensor:
    """Return a grid, (C, height, width), 0 to 1: the image, the image without a box, and `num` ways to fill it.

    Args:
        model: a flow.
        image: in any form that `TrainedModel.predict` takes.
        box: top, left, height and width of the part to fill, in pixels of the run. None: the lower half.
        num: number of results.
        seed: of the noise.
        wanted: classes and steps; ddim is always the sampler.

    Raises:
        UserError: the run is no flow, the image cannot be read, or a value is not allowed.
    """
    module = flow_of(model, "--inpaint")
    if wanted.sampler not in (None, "ddim"):
        raise UserError(f"--sampler: got {wanted.sampler}, but --inpaint needs ddim; leave it out")
    sampling, hidden = settings(module, wanted), box_mask(module.net.in_shape, box).to(module.device)
    (noise, classes), pixels = start(model, num, seed, wanted), model.data.encode(image)
    ends = (pixels.to(noise) / 255 * 2 - 1)[None]  # (1, C, H, W)
    noise = noise.float() if noise.dtype == torch.bfloat16 else noise
    predict = module.guided(classes, sampling.guidance)
    filled = inpaint(predict, module.path, noise, ends.to(noise), ~hidden, sampling.num_steps)
    first = (ends + 1) / 2
    shown = torch.cat((first, first.masked_fill(hidden, GREY), ((filled + 1) / 2).clamp(0, 1).to(first)))
    return plots.grid(shown)


def box_mask(in_shape: Sequence[int], box: Sequence[int] | None) -> Tensor:
    """Return which pixels are in a box, bool (H, W); see `inpainted`.

    Raises:
        UserError: the box is not within the image.
    """
    _, height, width = in_shape
    top, left, rows, columns = box or (height // 2, 0, height - height // 2, width)
    inside = 0 <= top < top + rows <= height and 0 <= left < left + columns <= width
    if not inside:
        given = " ".join(map(str, (top, left, rows, columns)))
        raise UserError(f"--box: got {given}, must be TOP LEFT HEIGHT WIDTH of a box within {height}x{width} pixels")
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[top : top + rows, left : left + columns] = True
    return mask
