"""Random views of images for self-supervised learning, in whole batches on the device of the images (SimCLR, 2020).

The order is that of SimCLR: crop, mirror, colour jitter, grey, blur. All geometric changes are one affine map. The
random numbers are those of torch's generator for the device, which a training seeds in each step.

Differences: the colours change in a fixed order, and a blur reaches three pixels at most, since it is for small images.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from leyden.data import colours
from leyden.data.loaders import Flip
from leyden.data.photo_augment import HUE, cropped, in_pixels, resampled, rotation

JITTERED = 0.8  # fraction of the images whose colours change
SIGMAS = (0.1, 2.0)  # smallest and largest standard deviation of a blur, in pixels
NUM_NUMBERS = 14  # random numbers per image


@dataclass(frozen=True)
class Views:
    """Draws a random view of each image.

    Args:
        crop: smallest fraction of the area that a random crop keeps, above 0 and at most 1 (no crops).
        flip: whether to mirror images left to right at random.
        rotate: largest angle in degrees, 0 to 180.
        jitter: largest relative change of brightness, contrast and saturation, 0 to 1. The hue turns by up to a
            quarter of it. One image of five keeps its colours.
        grey: probability that an image loses its colours, 0 to 1.
        blur: probability that an image is blurred, 0 to 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    crop: float
    flip: Flip
    rotate: float
    jitter: float
    grey: float
    blur: float

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop: got {self.crop}, must be above 0 and at most 1 (1: no crops)")
        if not 0 <= self.rotate <= 180:
            raise ValueError(f"rotate: got {self.rotate}, must be between 0 and 180 degrees")
        for name in ("jitter", "grey", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, must be between 0 and 1")

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return a view of each image: float (B, C, H, W), 0 to 255; C is 1 or 3."""
        uniform = torch.rand((len(images), NUM_NUMBERS), device=images.device)
        if self.crop < 1 or self.rotate or self.flip:
            images = resampled(images, self._maps(uniform, *images.shape[2:]))
        if self.jitter:
            images = self._jittered(images, uniform[:, 6:11])
        if self.grey and images.shape[1] > 1:
            grey = colours.grey(images).expand_as(images)
            images = torch.where((uniform[:, 11] < self.grey).view(-1, 1, 1, 1), grey, images)
        if self.blur:
            low, high = SIGMAS
            smooth = colours.blur(images, low + (high - low) * uniform[:, 13])
            images = torch.where((uniform[:, 12] < self.blur).view(-1, 1, 1, 1), smooth, images)
        return images

    def _maps(self, uniform: Tensor, height: int, width: int) -> Tensor:
        """Return the affine maps of the views, (B, 2, 3), from six random numbers each."""
        angle = (2 * uniform[:, 4] - 1) * math.radians(self.rotate)
        maps = in_pixels(rotation(angle), height, width) @ cropped(uniform[:, :4], self.crop)
        if self.flip:
            mirror = torch.where(uniform[:, 5] < 0.5, -1.0, 1.0)
            maps[:, :2, 0] *= mirror[:, None]
        return maps[:, :2]

    def _jittered(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Change brightness, contrast, saturation and hue, from five random numbers per image."""
        is_changed = (uniform[:, 4:] < JITTERED).to(uniform.dtype)  # (B, 1)
        turns = (2 * uniform[:, :4] - 1) * self.jitter * is_changed
        changes = (colours.brightness, colours.contrast, colours.saturation)
        for number, change in enumerate(changes):
            images = change(images, 1 + turns[:, number])
        return colours.hue(images, turns[:, 3] * HUE)
