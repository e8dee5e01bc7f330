"""The part that vae, gan and flow share: decoding images from random latents, and measuring their quality."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from leyden.data.datamodule import DataFacts, InMemoryData
from leyden.data.loaders import Batch
from leyden.metrics.frechet import SampleQuality, train_feature_net
from leyden.modules.base import BaseModule
from leyden.modules.pixels import register_pixel_statistics, to_pixels, use_pixel_statistics
from leyden.optim import OptimizerFactory, SchedulerFactory


class GenerativeModule(BaseModule):
    """A module that generates new images. A task adds `decode` and the steps.

    Args:
        net: has the attribute `in_shape`, (C, H, W) of an image.
        optimizer, scheduler, objective, train_metrics: see `BaseModule`.
        num_classes: number of classes of the data set; used to measure the quality of samples, not in training.
        num_samples: number of images to generate for `quality`, see `leyden.metrics.frechet`.
        latent_size: number of values from which an image is generated.

    Raises:
        ValueError: `num_classes` or `num_samples` is below 2.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        train_metrics: tuple[str, ...],
        num_classes: int,
        num_samples: int,
        latent_size: int,
    ) -> None:
        super().__init__(net, optimizer, scheduler, objective, train_metrics)
        assert isinstance(net.in_shape, tuple)
        register_pixel_statistics(self, net.in_shape)
        self.latent_size = latent_size
        self.quality = SampleQuality(net.in_shape, num_classes, num_samples)
        # Targets → which classes an image shows, see `DataFacts`. Evaluation needs it, also of a loaded run.
        self.classes_in: Callable[[Tensor], Tensor] | None = None

    def use_facts(self, facts: DataFacts) -> None:
        use_pixel_statistics(self, facts)
        self.classes_in = facts.classes_in

    def prepare_fit(self, data: InMemoryData) -> None:
        train_feature_net(self.quality.feature_net, data)

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, latent_size) from a standard normal distribution → images (B, C, H, W), 0 to 1."""

    @torch.no_grad()
    def sample(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """Generate new images.

        Args:
            num: number of images.
            generator: a generator on the CPU; None for torch's default generator.

        Returns:
            float (num, C, H, W), 0 to 1; for a vae the mean of each pixel.
        """
        return self.decode(self.random_latents(num, generator))

    def random_latents(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """Return (num, latent_size) from a standard normal distribution, with the device and type of the weights.

        The arguments are those of `sample`.
        """
        weight = next(self.net.parameters())
        return torch.randn(num, self.latent_size, generator=generator).to(weight)

    def predict(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return images: latents (B, latent_size) from a standard normal distribution → (B, C, H, W), 0 to 1."""
        return {"images": self.decode(inputs)}

    def add_real(self, batch: Batch) -> None:
        """Add a batch of real images, with which `quality` compares generated ones."""
        assert self.classes_in is not None
        self.quality.add_real(to_pixels(self, batch[0]), self.classes_in(batch[1]))
