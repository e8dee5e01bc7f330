"""Augmentation of photographs in whole batches: random crops, rotations, colour jitter and RandAugment.

All geometric changes of an image are one affine map, so each image is resampled once (bilinear). The border is filled
by reflection. The random numbers of an epoch are drawn at once, so nothing is read from the device in a step.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from leyden.data import colours
from leyden.data.loaders import Batch, Flip, ShiftAndFlip

RATIOS = (3 / 4, 4 / 3)  # of width to height of a crop, relative to that of the image
HUE = 0.25  # fraction of the strength of the colour jitter by which the hue may turn
NUM_OPERATIONS = 2  # of RandAugment per image
MAX_MAGNITUDE = 30
GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
# brightness to sharpness have a direction: brighter or darker
COLOUR = ("brightness", "saturation", "contrast", "sharpness", "posterise", "solarise", "autocontrast", "equalise")
FACTORS = {
    "brightness": colours.brightness, "saturation": colours.saturation, "contrast": colours.contrast,
    "sharpness": colours.sharpness,
}  # fmt: skip
OPERATIONS = ("identity", *GEOMETRIC, *COLOUR)


@dataclass(frozen=True)
class PhotoChanges:
    """Which changes to make, and how large they are.

    Args:
        crop: smallest fraction of the area that a random crop keeps, above 0 and at most 1 (no crops).
        rotate: largest angle in degrees, 0 to 180.
        jitter: largest relative change of brightness, contrast and saturation, 0 to 1. The hue turns by up to a
            quarter of it.
        randaugment: magnitude of the two operations of RandAugment (Cubuk et al., 2020), 0 (none) to 30.
    """

    crop: float = 1.0
    rotate: float = 0.0
    jitter: float = 0.0
    randaugment: int = 0

    @property
    def any(self) -> bool:
        """Whether there is any change."""
        return self != PhotoChanges()


class PhotoAugment(ShiftAndFlip):
    """Translate and mirror images, then crop, rotate and resample them, then change their colours.

    A crop has a random area from `crop` to 1 and a random ratio from 3/4 to 4/3, and is resized to the whole image
    (Szegedy et al., 2015). The colour jitter changes brightness, contrast, saturation and hue, in this order.
    RandAugment chooses two operations for each image, with the strengths of torchvision; the geometric ones are part of
    the resampling, and the others follow it.

    Args:
        images, targets, shift, flip, seed: see `ShiftAndFlip`.
        changes: the other changes.
    """

    def __init__(
        self, images: Tensor, targets: Tensor, shift: int, flip: Flip, changes: PhotoChanges, seed: int = 0
    ) -> None:
        super().__init__(images, targets, shift, flip, seed)
        self.changes = changes

    def draw(self, num: int, rng: torch.Generator, epoch: int = 0) -> tuple[Tensor, ...]:
        """Draw translations and mirroring, affine maps (num, 2, 3), jitter (num, 4), operations and signs (num, 2)."""
        moves = super().draw(num, rng, epoch)
        uniform = torch.rand((num, 9), generator=rng)
        operations = torch.randint(len(OPERATIONS), (num, NUM_OPERATIONS), generator=rng)
        signs = torch.randint(2, (num, NUM_OPERATIONS), generator=rng) * 2 - 1
        maps = cropped(uniform[:, :4], self.changes.crop)
        angle = (2 * uniform[:, 4] - 1) * math.radians(self.changes.rotate)
        maps = in_pixels(rotation(angle), self.height, self.width) @ maps
        if self.changes.randaugment:
            for number in range(NUM_OPERATIONS):
                maps = self._operation(operations[:, number], signs[:, number]) @ maps
        turns = 2 * uniform[:, 5:] - 1
        strength = torch.tensor([1, 1, 1, HUE]) * self.changes.jitter
        jitter = torch.tensor([1.0, 1, 1, 0]) + turns * strength
        return *moves, maps[:, :2], jitter, operations, signs

    def _operation(self, chosen: Tensor, signs: Tensor) -> Tensor:
        """Return the map of the chosen operation of each image, (B, 3, 3); no change if it is not geometric."""
        maps = torch.eye(3).repeat(len(chosen), 1, 1)
        part = self.changes.randaugment / MAX_MAGNITUDE * signs
        is_chosen = {name: chosen == OPERATIONS.index(name) for name in GEOMETRIC}
        rotated = in_pixels(rotation(part * math.radians(30)), self.height, self.width)
        maps = torch.where(is_chosen["rotate"][:, None, None], rotated, maps)
        ratio = self.height / self.width
        maps[:, 0, 1] += torch.where(is_chosen["shear_x"], 0.3 * part * ratio, 0.0)
        maps[:, 1, 0] += torch.where(is_chosen["shear_y"], 0.3 * part / ratio, 0.0)
        furthest = 2 * 150 / 331  # coordinates are from -1 to 1
        maps[:, 0, 2] += torch.where(is_chosen["translate_x"], furthest * part, 0.0)
        maps[:, 1, 2] += torch.where(is_chosen["translate_y"], furthest * part, 0.0)
        return maps

    def __call__(self, index: Tensor, *draws: Tensor) -> Batch:
        translation, mirror, maps, jitter, operations, signs = draws
        pixels, targets = super().__call__(index, translation, mirror)
        images = pixels.float()
        if self.changes.crop < 1 or self.changes.rotate or self.changes.randaugment:
            images = resampled(images, maps)
        if self.changes.jitter:
            for number, change in enumerate((colours.brightness, colours.contrast, colours.saturation, colours.hue)):
                images = change(images, jitter[:, number])
        if self.changes.randaugment:
            for number in range(NUM_OPERATIONS):
                images = recoloured(images, operations[:, number], signs[:, number], self.changes.randaugment)
        return images, targets


def cropped(uniform: Tensor, smallest: float) -> Tensor:
    """Return the maps of random crops, (B, 3, 3).

    Args:
        uniform: random numbers from 0 to 1, (B, 4): area, ratio, left, top.
        smallest: smallest fraction of the area.
    """
    maps = torch.eye(3, device=uniform.device).repeat(len(uniform), 1, 1)
    if smallest == 1:
        return maps
    area = smallest + (1 - smallest) * uniform[:, 0]
    low, high = (math.log(ratio) for ratio in RATIOS)
    ratio = (low + (high - low) * uniform[:, 1]).exp()
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    maps[:, 0, 0], maps[:, 1, 1] = width, height
    maps[:, 0, 2] = (1 - width) * (2 * uniform[:, 2] - 1)
    maps[:, 1, 2] = (1 - height) * (2 * uniform[:, 3] - 1)
    return maps


def rotation(angle: Tensor) -> Tensor:
    """Return the maps that turn an image by `angle` (B,), in radians, counter-clockwise, (B, 3, 3)."""
    maps = torch.eye(3, device=angle.device).repeat(len(angle), 1, 1)
    maps[:, 0, 0] = maps[:, 1, 1] = angle.cos()
    maps[:, 0, 1], maps[:, 1, 0] = -angle.sin(), angle.sin()
    return maps


def in_pixels(maps: Tensor, height: int, width: int) -> Tensor:
    """Convert linear maps of pixels, (B, 3, 3), to maps of coordinates from -1 to 1 at the edges."""
    size = torch.ones(3, device=maps.device)
    size[0], size[1] = width / 2, height / 2
    return maps * size / size[:, None]


def resampled(images: Tensor, maps: Tensor) -> Tensor:
    """Return images (B, C, H, W) whose pixel at p is that of the input at ``map(p)``.

    Args:
        images: float (B, C, H, W).
        maps: (B, 2, 3), of coordinates (x, y) that are -1 and 1 at the edges of the image.
    """
    _, _, height, width = images.shape
    x = (torch.arange(width, device=images.device) + 0.5) * 2 / width - 1
    y = (torch.arange(height, device=images.device) + 0.5) * 2 / height - 1
    along, down, offset = (maps[:, None, None, :, column] for column in range(3))  # (B, 1, 1, 2)
    places = along * x[:, None] + down * y[:, None, None] + offset  # (B, H, W, 2)
    return grid_sample(images, places, mode="bilinear", padding_mode="reflection", align_corners=False)


def recoloured(images: Tensor, chosen: Tensor, signs: Tensor, magnitude: int, separately: bool | None = None) -> Tensor:
    """Apply an operation of RandAugment to each image; the geometric ones change nothing here.

    Args:
        images: float (B, C, H, W), 0 to 255.
        chosen: int64 (B,), positions in `OPERATIONS`.
        signs: int64 (B,), -1 or 1.
        magnitude: 1 to 30.
        separately: compute an operation only for the images that it was chosen for. Their number must be read from the
            device, so a GPU computes all operations for all images instead. None: if `images` are on the CPU.
    """
    separately = images.device.type == "cpu" if separately is None else separately
    images = images.clone()
    for name in COLOUR:
        is_chosen = chosen == OPERATIONS.index(name)
        if separately:
            rows = is_chosen.nonzero().flatten()
            if len(rows):
                images[rows] = _operated(name, images[rows], signs[rows], magnitude / MAX_MAGNITUDE)
        else:
            changed = _operated(name, images, signs, magnitude / MAX_MAGNITUDE)
            images = torch.where(is_chosen.view(-1, 1, 1, 1), changed, images)
    return images


def _operated(name: str, images: Tensor, signs: Tensor, part: float) -> Tensor:
    """Apply one operation to all `images`. `part` is the fraction of the largest magnitude."""
    factor = 1 + 0.9 * part * signs.to(images.dtype)
    same = torch.ones_like(factor)
    if name == "posterise":
        return colours.posterise(images, same * (8 - round(4 * part)))
    if name == "solarise":
        return colours.solarise(images, same * 255 * (1 - part))
    if name in ("autocontrast", "equalise"):
        return {"autocontrast": colours.autocontrast, "equalise": colours.equalise}[name](images)
    return FACTORS[name](images, factor)
