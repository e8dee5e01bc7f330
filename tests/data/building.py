"""Data sets for tests, built from the config."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from leyden.config.builders import section
from leyden.config.compose import compose
from leyden.config.instantiate import instantiate
from leyden.data.loaders import Normalise
from tests.conftest import chosen

CPU = torch.device("cpu")
UNCHANGED = Normalise([0.0], [1 / 255], CPU)  # 0 to 255 stay 0 to 255


def build_data(name: str, *overrides: str) -> Any:
    """Build the data set `name`; nothing is read yet."""
    return instantiate(section(compose(*chosen(name), *overrides), "data"), "data")


def numbered(num: int, side: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `num` grey images, each filled with its number, and the numbers as labels."""
    return torch.arange(num, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, side, side).clone(), torch.arange(num)


def pixels(number: int, channels: int = 3, side: int = 4) -> NDArray[np.uint8]:
    """An image (H, W, C) of one colour, `number`."""
    return np.full((side, side, channels), number, dtype=np.uint8)


def save(path: Path, image: NDArray[np.uint8], **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(path, **options)
