"""Convert one image in any common form to the uint8 pixels that a data set of images reads."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from leyden.data.datamodule import printable
from leyden.data.file_access import read_bytes
from leyden.data.image_files.decode import MAX_BYTES, Pixels, decode, fitted
from leyden.errors import UserError

FORMS = "a path, bytes, a PIL image, or an array or tensor of pixels, uint8 or from 0 to 1"


def pixels(image: Any, shape: Sequence[int]) -> Tensor:
    """Return an image as uint8 (C, H, W) of `shape`. An image of another size is resized as `decode` does it.

    Args:
        image: a path, the bytes of a file, a PIL image, or an array or tensor (H, W), (H, W, C) or (C, H, W) with 1, 3
            or 4 channels. Its pixels are uint8, or floats from 0 to 1.
        shape: [C, H, W] of the result.

    Raises:
        UserError: the image cannot be read, or has another form.
    """
    if isinstance(image, str | Path):
        return _file(Path(image), shape)
    try:
        if isinstance(image, bytes):
            return torch.from_numpy(decode(image, shape).copy())
        if isinstance(image, Tensor):
            return _array(image.detach().cpu().numpy(), shape, channels_first=True)
        if isinstance(image, np.ndarray):
            return _array(image, shape, channels_first=False)
        if isinstance(image, Image.Image):
            return torch.from_numpy(fitted(ImageOps.exif_transpose(image), shape).copy())
    except ValueError as error:
        raise UserError(f"image: {printable(str(error))}") from error
    raise UserError(f"image: got {type(image).__name__}, must be {FORMS}")


def _file(path: Path, shape: Sequence[int]) -> Tensor:
    payload = read_bytes(path, "image", MAX_BYTES)
    try:
        return torch.from_numpy(decode(payload, shape).copy())
    except ValueError as error:
        raise UserError(f"image: cannot read {printable(str(path))} ({printable(str(error))})") from error


def _array(image: NDArray[Any], shape: Sequence[int], *, channels_first: bool) -> Tensor:
    """Return an array as pixels.

    Args:
        image: (H, W), (H, W, C) or (C, H, W).
        shape: [C, H, W] of the result.
        channels_first: which axis contains the channels if both the first and the last could.
    """
    values = _channels_last(_uint8(image), channels_first=channels_first)  # (H, W, C)
    if values.shape == (*shape[1:], shape[0]):
        return torch.from_numpy(values.transpose(2, 0, 1).copy())
    return torch.from_numpy(fitted(Image.fromarray(values[..., 0] if values.shape[2] == 1 else values), shape).copy())


def _uint8(image: NDArray[Any]) -> Pixels:
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"its pixels are {image.dtype}, must be uint8 or floats from 0 to 1")
    if image.size and not (math.isfinite(image.max()) and image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"its pixels are from {image.min():.3g} to {image.max():.3g}, must be from 0 to 1 or uint8")
    return np.rint(image.astype(np.float32) * 255).astype(np.uint8)


def _channels_last(image: Pixels, *, channels_first: bool) -> Pixels:
    if image.ndim == 2:
        return image[..., None]
    if image.ndim == 3 and image.size:
        first, last = image.shape[0] in (1, 3, 4), image.shape[2] in (1, 3, 4)
        if first and (channels_first or not last):
            return image.transpose(1, 2, 0)
        if last:
            return image
    expected = "[H, W], [H, W, C] or [C, H, W] with 1, 3 or 4 channels"
    raise ValueError(f"its shape is {list(image.shape)}, must be {expected}")
