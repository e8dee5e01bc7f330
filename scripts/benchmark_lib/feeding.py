"""The speed of the loaders for images."""

from collections.abc import Callable

import torch
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from leyden.data.loaders import Normalise, ShiftAndFlip, TrainLoader
from scripts.benchmark_lib.rates import Part, alternate, feed, median_ratio, row

BATCH = 128


def feeding(repeat: int) -> Part:
    """Measure the speed of the loaders, which make shuffled and normalised batches from data in memory."""
    table = Table("feeding, batch 128", "torchvision + DataLoader", "Leyden", "ratio", title="images per second")
    found = {}
    cases = (
        ("1x28x28", (1, 28, 28), 0, False),
        ("3x32x32", (3, 32, 32), 0, False),
        ("3x32x32, shift + flip", (3, 32, 32), 4, True),
    )
    for name, shape, shift, flip in cases:
        images = torch.randint(0, 256, (20_000, *shape), dtype=torch.uint8)
        labels = torch.randint(0, 10, (20_000,))
        mean, std = [0.5] * shape[0], [0.25] * shape[0]
        theirs = torchvision_loader(images[:4_000], labels[:4_000], mean, std, shift, flip)
        ours = leyden_loader(images, labels, mean, std, shift, flip)
        rates = alternate(repeat, lambda: feed(theirs), lambda: feed(ours))  # noqa: B023 (called at once)
        table.add_row(name, *row(rates))
        found[name] = median_ratio(rates)
    return table, found


def leyden_loader(
    images: Tensor, labels: Tensor, mean: list[float], std: list[float], shift: int, flip: bool
) -> TrainLoader:
    """Return the loader that `ImageData` makes."""
    normalise = Normalise(mean, std, images.device)
    augment = ShiftAndFlip(images, labels, shift, flip) if shift or flip else None
    return TrainLoader(images, labels, BATCH, normalise, augment=augment)


class ImageDataset(Dataset[tuple[Tensor, Tensor]]):
    """A data set that works like torchvision's MNIST and CIFAR10: one image at a time, converted to PIL."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[object], Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform
        self.to_pil = transforms.ToPILImage()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.to_pil(self.images[index])), self.labels[index]


def torchvision_loader(
    images: Tensor, labels: Tensor, mean: list[float], std: list[float], shift: int, flip: bool
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return the loader of the tutorials, without worker processes: they cost more than they save for small images."""
    augment = [transforms.RandomCrop(images.shape[-1], padding=shift)] if shift else []
    augment += [transforms.RandomHorizontalFlip()] if flip else []
    transform = transforms.Compose([*augment, transforms.ToTensor(), transforms.Normalize(mean, std)])
    return DataLoader(ImageDataset(images, labels, transform), batch_size=BATCH, shuffle=True)
