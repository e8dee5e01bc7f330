"""Quality of generated images: the Fréchet distance to real images, and how many of the classes are generated.

The Fréchet distance is that of Heusel et al. (2017), but the features come from a small classifier that Leyden trains
on the data set itself instead of an Inception net. So ``fcd`` (Fréchet classifier distance) is not comparable with a
FID from the literature. It compares runs of Leyden on one data set.
"""

from collections.abc import Callable

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from leyden.data.datamodule import InMemoryData
from leyden.data.images import denormalise
from leyden.data.loaders import TrainLoader
from leyden.nets.cnn import CNN
from leyden.optim import OneCycle
from leyden.seeding import generator

NUM_FEATURES = 64
BATCH_SIZE = 128  # in the training of the feature extractor
MIN_STEPS = 100  # of that training, which takes one epoch if the data set is large enough
CHUNK = 500  # images that are generated at a time

Sample = Callable[[int, torch.Generator], Tensor]


class SampleQuality(nn.Module):
    """Compares generated images with the real images of a validation or test set.

    The feature extractor is a small CNN. It is trained for some seconds at the start of a run, on the whole official
    training set. Its seed is fixed. Therefore all runs on a data set have the same feature extractor, independent of
    their seed, split and model. Its weights are in the checkpoints, so a resumed or loaded run uses the same one.

    Args:
        in_shape: (C, H, W) of an image.
        num_classes: number of classes of the data set, at least 2.
        num_samples: number of images to generate for one comparison, at least 2.

    Raises:
        ValueError: `num_classes` or `num_samples` is below 2.
    """

    def __init__(self, in_shape: tuple[int, ...], num_classes: int, num_samples: int) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(
                f"num_classes: got {num_classes}, must be at least 2; generated images are compared by their classes"
            )
        if num_samples < 2:
            raise ValueError(f"num_samples: got {num_samples}, must be at least 2")
        self.num_classes, self.num_samples = num_classes, num_samples
        # "judge" is the name of these weights in stored checkpoints.
        self.add_module("judge", build_feature_net(in_shape, num_classes))
        self.real = FeatureSums(NUM_FEATURES)
        self.predicted = torch.empty(0, dtype=torch.int64)  # classes of the last images that were generated, in order

    @property
    def feature_net(self) -> CNN:
        """The feature extractor."""
        net = self.get_submodule("judge")
        assert isinstance(net, CNN)
        return net

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Extract features and predict classes.

        Args:
            pixels: float (B, C, H, W), 0 to 1.

        Returns:
            Features, (B, 64), and the predicted class of each image, int64 (B,).
        """
        net = self.feature_net
        pixels = pixels.to(next(net.parameters()).dtype)
        with torch.autocast(pixels.device.type, enabled=False):  # the metrics must not depend on trainer.precision
            features: Tensor = net.head[:-1](net.stages(pixels).flatten(1))
            return features, net.head[-1](features).argmax(1)

    def add_real(self, pixels: Tensor, classes: Tensor) -> None:
        """Add a batch of real images.

        Args:
            pixels: float (B, C, H, W), 0 to 1.
            classes: the classes that each image shows, (B, num_classes), 0 or 1.
        """
        features, predicted = self.features(pixels)
        self.real.add(features, classes.gather(1, predicted[:, None]).squeeze(1) > 0)

    def measure(self, module: LightningModule, sample: Sample, prefix: str) -> dict[str, Tensor]:
        """Compare generated images with the real ones that all processes added since the last call.

        Args:
            module: gives access to the other processes.
            sample: (number, generator) → images (number, C, H, W), 0 to 1.
            prefix: prefix of the metrics' names.

        Returns:
            fcd: Fréchet distance between the features; 0 if the distributions are equal, lower is better.
            coverage: fraction of the classes that are generated, see `coverage`.
            judge_acc: accuracy of the feature extractor on the real images. If it is low, the other two mean little.
        """
        mean, covariance, accuracy = self.real.moments(module)
        self.real = FeatureSums(NUM_FEATURES)
        rng, fake, classes = generator(0, "samples"), FeatureSums(NUM_FEATURES), []
        for start in range(0, self.num_samples, CHUNK):
            features, predicted = self.features(sample(min(CHUNK, self.num_samples - start), rng))
            fake.add(features, torch.ones_like(predicted))
            classes.append(predicted)
        fcd = frechet_distance(mean, covariance, *fake.moments()[:2])
        self.predicted = torch.cat(classes)
        covered = coverage(self.predicted, self.num_classes)
        return {f"{prefix}fcd": fcd.float(), f"{prefix}coverage": covered, f"{prefix}judge_acc": accuracy.float()}


class FeatureSums:
    """Sums from which the mean and the covariance of features are computed.

    They are float64, so that the order of the summation does not show in the metrics, which are float32. They stay on
    the device: adding a batch does not wait for it. MPS has no float64, so its sums are on the CPU.

    Args:
        num_features: F, the number of features of an image.
    """

    def __init__(self, num_features: int) -> None:
        self.num_features = num_features
        self.sums: Tensor | None = None  # (2 + F + F²,)

    def add(self, features: Tensor, correct: Tensor) -> None:
        """Add a batch of features, (B, F), and whether each image was classified correctly, bool (B,)."""
        on_mps = features.device.type == "mps"
        x, num_correct = (value.cpu() if on_mps else value for value in (features, correct.sum()))
        x = x.double()
        counts = torch.stack([x.new_full((), len(x)), num_correct.double()])
        sums = torch.cat([counts, x.sum(0), (x.T @ x).flatten()])
        self.sums = sums if self.sums is None else self.sums + sums

    def moments(self, module: LightningModule | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, (F,), covariance, (F, F), and accuracy, (), over all processes of `module`, on the CPU."""
        sums = torch.zeros(2 + self.num_features + self.num_features**2, dtype=torch.float64)
        if self.sums is not None:  # a process may have had no batch
            sums = self.sums.cpu()
        if module is not None and module.trainer.world_size > 1:
            gathered = module.all_gather(sums.to(module.device))
            assert isinstance(gathered, Tensor)
            sums = gathered.sum(0).cpu()
        num, mean = sums[0], sums[2 : 2 + self.num_features] / sums[0]
        products = sums[2 + self.num_features :].view(self.num_features, self.num_features)
        return mean, (products - num * torch.outer(mean, mean)) / (num - 1).clamp(min=1), sums[1] / num


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """Return the squared Fréchet distance between two normal distributions (Dowson and Landau, 1982).

    |m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁C₂)^½), where the trace of the root is the sum of the roots of the eigenvalues
    of the symmetric matrix C₁^½ C₂ C₁^½.

    Args:
        mean, other_mean: (F,)
        covariance, other_covariance: (F, F)
    """
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    distance: Tensor = (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * overlap
    return distance


def coverage(classes: Tensor, num_classes: int) -> Tensor:
    """Return the fraction of classes that occur at least a tenth as often as in a uniform distribution, 0 to 1.

    Args:
        classes: int64 (N,), the class of each sample.
    """
    counts = torch.bincount(classes, minlength=num_classes)
    return (counts * 10 * num_classes >= len(classes)).float().mean()


def build_feature_net(in_shape: tuple[int, ...], num_classes: int) -> CNN:
    """Return an untrained feature extractor. Its weights come from their own seed, not from that of the run."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        net = CNN(
            in_shape,
            num_classes,
            channels=(8, 16),
            hidden=(NUM_FEATURES,),
            activation="relu",
            dropout=0.0,
            norm="batch",
            init="default",
        )
    return net.requires_grad_(False)


def train_feature_net(net: nn.Module, data: InMemoryData) -> None:
    """Train a feature extractor on the whole training set of `data`, on the CPU, in place."""
    facts = data.facts()
    mean, std, classes_in = facts.mean, facts.std, facts.classes_in
    assert mean is not None, "the data set has no images"
    assert std is not None
    assert classes_in is not None
    inputs, targets = data.read(train=True)
    transform, dtype = data.transform(inputs.device), next(net.parameters()).dtype

    def pixels(raw: Tensor) -> Tensor:
        return denormalise(transform(raw), mean, std).to(dtype)

    augment = data.augmentation(inputs, targets)
    fit_feature_net(net, TrainLoader(inputs, targets, BATCH_SIZE, pixels, augment=augment), classes_in)


def fit_feature_net(net: nn.Module, batches: TrainLoader, classes_in: Callable[[Tensor], Tensor]) -> None:
    """Train `net` with Adam for one epoch, or for more if that is less than `MIN_STEPS` steps, in place.

    Args:
        net: float (B, C, H, W), 0 to 1 → a logit for each class, (B, num_classes).
        batches: batches of images (B, C, H, W), 0 to 1, and targets.
        classes_in: targets → which classes the images show, (B, num_classes), 0 or 1.
    """
    num_epochs = -(-MIN_STEPS // len(batches))
    optimizer = torch.optim.Adam(net.requires_grad_().parameters(), lr=5e-3)
    schedule = OneCycle(optimizer, num_epochs * len(batches), pct_start=0.3, div_factor=25.0, final_div_factor=1e4)
    for epoch in range(num_epochs):
        batches.position = epoch_start(epoch)
        for images, targets in batches:
            optimizer.zero_grad()
            loss = cross_entropy(net(images), uniform_over(classes_in(targets)))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    net.requires_grad_(False)


def uniform_over(classes: Tensor) -> Tensor:
    """Classes that are present, (B, num_classes), 0 or 1 → the uniform distribution over them; 0 if there are none."""
    return classes / classes.sum(1, keepdim=True).clamp(min=1)


def epoch_start(epoch: int) -> Callable[[], tuple[int, int]]:
    """Return the position at the start of an epoch, in the form that `TrainLoader` expects."""
    return lambda: (epoch, 0)
