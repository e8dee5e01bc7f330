"""What vae and gan share: images decoded from latents that are drawn at random, and judged."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from leyden.data.loaders import Batch
from leyden.metrics.sample_quality import SampleQuality
from leyden.modules.base import ImageModule


class GenerativeModule(ImageModule):
    """A learner that can make new images. Args: as `ImageModule`, and

    num_classes: of the data set; classes serve to judge samples, not to train.
    num_samples: how many images are generated to be judged, see `leyden.metrics.sample_quality`.

    Raises:
        ValueError: `num_classes` or `num_samples` is below 2.
    """

    def __init__(self, net: nn.Module, *args: Any, num_classes: int, num_samples: int) -> None:
        super().__init__(net, *args)
        assert isinstance(net.in_shape, tuple)
        assert isinstance(net.latent_size, int)
        self.latent_size = net.latent_size
        self.quality = SampleQuality(net.in_shape, num_classes, num_samples)

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """(B, latent_size), of a standard normal distribution → images (B, C, H, W), 0 to 1."""

    @torch.no_grad()
    def sample(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """New images.

        Args:
            num: how many.
            generator: on the CPU; torch's own if there is none.

        Returns:
            float (num, C, H, W), 0 to 1; of a vae the mean of each pixel.
        """
        return self.decode(torch.randn(num, self.latent_size, generator=generator).to(self.device))

    def add_real(self, batch: Batch) -> None:
        """Take note of real images, against which `quality` measures."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.quality.add_real(self.pixels(batch[0]), data.classes_in(batch[1]))

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            self.quality.prepare(self.trainer)
