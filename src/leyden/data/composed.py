"""ImageLogger composed of several images of digits, whole batches at once.

Training pictures are made anew in every epoch, those of validation and test once. Each split is made of images of
its own: what validates is held out before anything is composed, and test pictures are of the source's test images.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from leyden.data.datamodule import check
from leyden.data.digits import Digits
from leyden.data.images import ImageData, PixelData
from leyden.data.loaders import Augment, Batch
from leyden.data.mnist import MNIST
from leyden.seeding import generator

Source = Literal["digits", "mnist"]

# class, mean and standard deviation of its pixels in units of the full range
SOURCES: dict[str, tuple[type[ImageData], float, float]] = {
    "digits": (Digits, 0.305, 0.361),
    "mnist": (MNIST, 0.1307, 0.3081),
}
SIDE = 28  # of the sources' images, in pixels


class DigitCanvas:
    """Lays several images on each of a batch of pictures; where two meet, the brighter pixel shows.

    Args:
        images: uint8 (N, 1, h, w), on the device that trains.
        size: H, W of the pictures.
    """

    def __init__(self, images: Tensor, size: Sequence[int]) -> None:
        self.height, self.width = images.shape[2:]
        # (N * (h + 2), w + 2): the black frame is what a pixel of the picture sees that lies outside of an image
        self.lines = pad(images[:, 0], (1, 1, 1, 1)).view(-1, self.width + 2)
        self.rows, self.columns = (torch.arange(side, device=images.device) for side in size)

    def __call__(self, chosen: Tensor, corners: Tensor) -> Tensor:
        """
        Args:
            chosen: int64 (B, K), which of the images, -1 for none.
            corners: int64 (B, K, 2), row and column of each one's upper left pixel; it may lie outside.

        Returns:
            uint8 (B, 1, H, W)
        """
        num, height, width = len(chosen), len(self.rows), len(self.columns)
        picture = torch.zeros((num, height, width), dtype=torch.uint8, device=chosen.device)
        for place in range(chosen.shape[1]):
            image, top, left = chosen[:, place, None], corners[:, place, :1], corners[:, place, 1:]  # (B, 1) each
            row = torch.where(image >= 0, (self.rows - top + 1).clamp(0, self.height + 1), 0)  # (B, H)
            column = (self.columns - left + 1).clamp(0, self.width + 1)  # (B, W)
            lines = self.lines.index_select(0, (image.clamp(0) * (self.height + 2) + row).view(-1))
            tile = lines.view(num, height, -1).gather(2, column[:, None].expand(-1, height, -1))  # (B, H, W)
            picture = torch.maximum(picture, tile)
        return picture[:, None]


class ComposedData(PixelData):
    """ImageLogger of up to `max_digits` digits of a source each. A data set adds `corners`, `targets`, `classes_in`.

    Args: as `InMemoryData`, and

    root, mirrors, verify, download: of the source, see `ImageData`.
    num_classes: kinds of digits.
    source: where the digits come from: digits (inside scikit-learn) or mnist.
    min_digits, max_digits: in a picture, each number of them equally often.
    num_train: training pictures per epoch.
    num_eval: validation pictures, and test pictures.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        root: str,
        shape: Sequence[int],
        source: Source,
        mirrors: Sequence[str],
        num_classes: int,
        min_digits: int,
        max_digits: int,
        num_train: int,
        num_eval: int,
        verify: bool = True,
        download: bool = True,
        **kwargs: Any,
    ) -> None:
        check(1 <= min_digits <= max_digits, f"min_digits: got {min_digits}, must be between 1 and {max_digits}")
        for name, num in (("num_train", num_train), ("num_eval", num_eval)):
            check(num >= 1, f"{name}: got {num}, must be at least 1")
        kind, mean, std = SOURCES[source]
        covered = (min_digits + max_digits) / 2 * SIDE**2 / (shape[-2] * shape[-1])  # share of the picture
        spread = (covered * (std**2 + mean**2) - (covered * mean) ** 2) ** 0.5
        super().__init__(shape, mean=[covered * mean], std=[spread], **kwargs)
        files: dict[str, Any] = {"mirrors": mirrors} if kind is MNIST else {}
        self.source = kind(
            root=root, shape=(1, SIDE, SIDE), num_classes=num_classes, mean=[mean], std=[std],
            verify=verify, download=download, **files,
        )  # fmt: skip
        self.num_classes, self.min_digits, self.max_digits = num_classes, min_digits, max_digits
        self.num_train, self.num_eval = num_train, num_eval

    def files(self) -> Sequence[Path]:
        return self.source.files()

    def prepare_data(self) -> None:
        self.source.prepare_data()

    @abstractmethod
    def corners(self, num: int, rng: torch.Generator) -> Tensor:
        """int64 (num, max_digits, 2): where the digits of each picture go, see `DigitCanvas`."""

    @abstractmethod
    def targets(self, digits: Tensor) -> Tensor:
        """What is to be told of pictures with these digits, int64 (B, max_digits), -1 for none."""

    def digits_in(self, digits: Tensor) -> Tensor:
        """Which digits are among these, int64 (B, K), -1 for none → (B, num_classes), 0 or 1."""
        return one_hot(digits + 1, self.num_classes + 1)[..., 1:].amax(1)

    def read(self, train: bool) -> Batch:
        """Single images to train and validate with; finished pictures to test with, the same for every seed."""
        images, labels = self.source.read_checked(train)
        self.verified = self.source.verified
        return (images, labels) if train else self.pictures(images, labels, generator(0, "test pictures"))

    def strata(self, targets: Tensor) -> Tensor:
        return targets

    def split(self, inputs: Tensor, targets: Tensor) -> tuple[Batch, Batch]:
        train, val = super().split(inputs, targets)
        again = torch.arange(self.num_train) % len(train[1])
        return (train[0][again], train[1][again]), self.pictures(*val, generator(self.seed, "val pictures"))

    def pictures(self, images: Tensor, labels: Tensor, rng: torch.Generator) -> Batch:
        """`num_eval` pictures of single images."""
        return self.augmentation(images, labels)(torch.arange(self.num_eval) % len(labels), rng)

    def augmentation(self, inputs: Tensor, targets: Tensor) -> Augment:
        """ImageLogger whose first digit is the image at the index; the others are any."""
        composer = DigitCanvas(inputs, self.shape[1:])

        def draw(index: Tensor, rng: torch.Generator) -> Batch:
            num, device = len(index), index.device
            others = torch.randint(0, len(inputs), (num, self.max_digits - 1), generator=rng).to(device)
            counts = torch.randint(self.min_digits, self.max_digits + 1, (num, 1), generator=rng).to(device)
            used = torch.arange(self.max_digits, device=device) < counts  # (B, K)
            chosen = torch.where(used, torch.cat([index[:, None], others], 1), -1)
            digits = torch.where(used, targets[chosen.clamp(0)], -1)
            return composer(chosen, self.corners(num, rng).to(device)), self.targets(digits)

        return draw
