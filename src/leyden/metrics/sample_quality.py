"""How good generated images are, in figures: a Fréchet distance and the share of the classes among them.

As Heusel et al. (2017) do with the features of an Inception net, but with those of a small classifier that
Leyden trains on the data set itself. So ``fcd`` (Fréchet classifier distance) is no FID and compares with none;
it compares runs of Leyden on one data set.
"""

from collections.abc import Callable

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from leyden.data.loaders import TrainLoader
from leyden.metrics.frechet import FeatureSums, frechet_distance
from leyden.nets.cnn import CNN
from leyden.optim import OneCycle
from leyden.seeding import generator

NUM_FEATURES = 64
MIN_STEPS = 100  # of the judge's training, which is one epoch where the data set is large enough
CHUNK = 500  # images that are generated at a time

Sample = Callable[[int, torch.Generator], Tensor]


class SampleQuality(nn.Module):
    """Compares a generator's images with the real ones of a validation or test set.

    The classifier, here the judge, is trained at the start of a run, in seconds, on the whole official training
    set and from a seed of its own: every run on a data set has the same, whatever its seed, split or model. Its
    weights are in the run's checkpoints, so a resumed or loaded run keeps it to the bit.

    Args:
        in_shape: (C, H, W) of an image.
        num_classes: of the data set.
        num_samples: how many images are generated for one comparison.

    Raises:
        ValueError: `num_classes` or `num_samples` is below 2.
    """

    def __init__(self, in_shape: tuple[int, ...], num_classes: int, num_samples: int) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(
                f"num_classes: got {num_classes}, samples are judged by the classes of images, two or more"
            )
        if num_samples < 2:
            raise ValueError(f"num_samples: got {num_samples}, must be at least 2")
        self.num_classes, self.num_samples = num_classes, num_samples
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            self.judge = CNN(in_shape, num_classes, (8, 16), (NUM_FEATURES,), norm="batch")
        self.judge.requires_grad_(False)
        self.real = FeatureSums(NUM_FEATURES)

    def prepare(self, trainer: Trainer) -> None:
        """Train the judge on the data of `trainer`, unless this run goes on from a checkpoint, which holds it."""
        if trainer.ckpt_path is not None:
            return
        data, device = trainer.datamodule, trainer.strategy.root_device  # type: ignore[attr-defined]
        inputs, targets = (part.to(device) for part in data.read(train=True))
        augment = data.augmentation(inputs, targets)

        def pixels(raw: Tensor) -> Tensor:
            scaled: Tensor = data.denormalise(data.transform(device)(raw))
            return scaled

        batches = TrainLoader(inputs, targets, 128, pixels, augment=augment)
        train_judge(self.judge.to(device), batches, data.classes_in)

    def look(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W), 0 to 1 → features, (B, 64), and likeliest classes, (B,); in eval mode."""
        features = self.judge.head[:-1](self.judge.stages(pixels).flatten(1))
        return features, self.judge.head[-1](features).argmax(1)

    def add_real(self, pixels: Tensor, classes: Tensor) -> None:
        """Take note of real images, float (B, C, H, W), 0 to 1, and of the classes in each, 0 or 1 (B, num_classes)."""
        features, found = self.look(pixels)
        self.real.add(features, classes.gather(1, found[:, None]).squeeze(1) > 0)

    def measure(self, module: LightningModule, sample: Sample, prefix: str) -> dict[str, Tensor]:
        """Compare generated images with the real ones that all processes noted since the last call.

        Args:
            module: whose processes.
            sample: (number, generator) → images (number, C, H, W), 0 to 1.
            prefix: of the names.

        Returns:
            fcd: Fréchet distance between the features, 0 where they are alike, lower is better.
            coverage: see `coverage`.
            judge_acc: share of the real images that the judge gets right; how far to trust the other two.
        """
        mean, covariance, accuracy = self.real.moments(module)
        self.real = FeatureSums(NUM_FEATURES)
        rng, fake, classes = generator(0, "samples"), FeatureSums(NUM_FEATURES), []
        for start in range(0, self.num_samples, CHUNK):
            features, found = self.look(sample(min(CHUNK, self.num_samples - start), rng))
            fake.add(features, torch.ones_like(found))
            classes.append(found)
        fcd = frechet_distance(mean, covariance, *fake.moments()[:2])
        covered = coverage(torch.cat(classes), self.num_classes)
        return {f"{prefix}fcd": fcd.float(), f"{prefix}coverage": covered, f"{prefix}judge_acc": accuracy.float()}


def coverage(classes: Tensor, num_classes: int) -> Tensor:
    """Share of the classes that come up at least a tenth as often as if all did equally, 0 to 1.

    Args:
        classes: int64 (N,), of each sample.
    """
    counts = torch.bincount(classes, minlength=num_classes)
    return (counts * 10 * num_classes >= len(classes)).float().mean()


def even_shares(classes: Tensor) -> Tensor:
    """Which classes are there, 0 or 1 (B, num_classes) → their shares of 1; none where there are none."""
    return classes / classes.sum(1, keepdim=True).clamp(min=1)


def train_judge(judge: nn.Module, batches: TrainLoader, classes_in: Callable[[Tensor], Tensor]) -> None:
    """Train `judge` with Adam for an epoch, or more where that is less than `MIN_STEPS`, in place.

    Args:
        judge: float (B, C, H, W), 0 to 1 → a logit for each class, (B, num_classes).
        batches: of images (B, C, H, W), 0 to 1, and targets.
        classes_in: targets → which classes the images show, 0 or 1 (B, num_classes).
    """
    num_epochs = -(-MIN_STEPS // len(batches))
    optimizer = torch.optim.Adam(judge.requires_grad_().parameters(), lr=5e-3)
    schedule = OneCycle(optimizer, num_epochs * len(batches))
    for epoch in range(num_epochs):
        batches.position = start_of(epoch)
        for images, targets in batches:
            optimizer.zero_grad()
            loss = cross_entropy(judge(images), even_shares(classes_in(targets)))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    judge.requires_grad_(False)


def start_of(epoch: int) -> Callable[[], tuple[int, int]]:
    """Where an iteration of `TrainLoader` is to start."""
    return lambda: (epoch, 0)
