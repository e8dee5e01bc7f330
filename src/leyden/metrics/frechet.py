"""The Fréchet distance between two sets of features, each taken for a normal distribution."""

import torch
from lightning.pytorch import LightningModule
from torch import Tensor


class FeatureSums:
    """Sums from which mean and covariance of features come, float64, so that the order of a sum cannot show.

    Args:
        num_features: here F.
    """

    def __init__(self, num_features: int) -> None:
        self.num_features = num_features
        self.sums = torch.zeros(2 + num_features + num_features**2, dtype=torch.float64)

    def add(self, features: Tensor, right: Tensor) -> None:
        """A batch of features, (B, F), and which of its images the judge got right, bool (B,)."""
        x = features.double().cpu()
        counts = torch.tensor([len(x), int(right.sum())])
        self.sums += torch.cat([counts, x.sum(0), (x.T @ x).flatten()])

    def moments(self, module: LightningModule | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (F,), covariance (F, F) and share of right ones, (), over all processes of `module`."""
        sums = self.sums
        if module is not None and module.trainer.world_size > 1:
            gathered = module.all_gather(sums.to(module.device))
            assert isinstance(gathered, Tensor)
            sums = gathered.sum(0).cpu()
        num, mean = sums[0], sums[2 : 2 + self.num_features] / sums[0]
        products = sums[2 + self.num_features :].view(self.num_features, self.num_features)
        return mean, (products - num * torch.outer(mean, mean)) / (num - 1).clamp(min=1), sums[1] / num


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """Squared, between two normal distributions (Dowson and Landau, 1982).

    |m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁C₂)^½), where the trace of the root is the sum of the roots of the eigenvalues
    of the symmetric C₁^½ C₂ C₁^½.

    Args:
        mean, other_mean: (D,)
        covariance, other_covariance: (D, D)
    """
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    distance: Tensor = (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * overlap
    return distance
