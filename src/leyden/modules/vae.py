"""Variational autoencoder (Kingma and Welling, 2014), with the weight β of Higgins et al. (2017).

Images are encoded as normal distributions over latents; the evidence lower bound (ELBO) is the expected log-likelihood
of the image given such a latent, less the Kullback-Leibler divergence of that distribution from the standard
normal one, and a bound of the image's log-likelihood. Samples are decoded from the standard normal distribution.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from leyden import seeding
from leyden.data.loaders import Batch
from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.modules import plots
from leyden.modules.base import wrong_net
from leyden.modules.generative import GenerativeModule
from leyden.modules.likelihoods import Bernoulli, DiscretisedLogistic, Likelihood, draw
from leyden.nets.codec import GaussianAutoencoder
from leyden.optim import OptimizerFactory, SchedulerFactory


class VAE(GenerativeModule):
    """Logs of each image, in nats, the mean of minus the ELBO as ``loss`` and its two parts, ``nll`` and ``kl``.

    On ``val`` and ``test`` the ELBO is that of β = 1 whatever was trained with, ``bpd`` is the same in bits per
    dimension, and the samples are judged, see `leyden.metrics.sample_quality`.

    Args:
        net: such as `leyden.nets.codec.GaussianAutoencoder`.
        optimizer, scheduler, objective: as of `BaseModule`.
        num_classes, num_samples: as of `GenerativeModule`.
        beta: weight of the divergence in training.
        likelihood: of a pixel, see `leyden.modules.likelihoods`; auto is bernoulli for grey images and logistic
            for colour.

    Raises:
        ValueError: `beta` is negative, or `num_samples` below 2.
    """

    net: GaussianAutoencoder
    likelihood: Likelihood

    def __init__(
        self,
        net: GaussianAutoencoder,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        num_classes: int,
        beta: float = 1.0,
        likelihood: Literal["auto", "bernoulli", "logistic"] = "auto",
        num_samples: int = 5000,
    ) -> None:
        if not isinstance(net, GaussianAutoencoder):
            raise wrong_net(net, "vae")
        figures = "loss", "nll", "kl"
        super().__init__(
            net, optimizer, scheduler, objective, *figures, num_classes=num_classes, num_samples=num_samples
        )
        if beta < 0:
            raise ValueError(f"beta: got {beta}, must not be negative")
        self.beta = beta
        grey = likelihood == "bernoulli" or (likelihood == "auto" and net.in_shape[0] == 1)
        self.likelihood = Bernoulli() if grey else DiscretisedLogistic(net.in_shape[0])
        self.eval_means = EpochMeanAccumulator(*figures)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) → their reconstructions, 0 to 1, by way of the mean of their latents."""
        return self.decode(self.net.encode(self.pixels(images))[0])

    def decode(self, latents: Tensor) -> Tensor:
        """(B, latent_size) → the mean of each pixel, (B, C, H, W), 0 to 1."""
        logits: Tensor = self.net.decoder(latents)
        return logits.sigmoid()

    def terms(self, images: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """What minus the ELBO of each image consists of.

        Args:
            images: normalised (B, C, H, W).
            rng: on the CPU; that of the device if there is none.

        Returns:
            Minus the log-likelihood and the divergence, (B,) each, in nats.
        """
        targets = self.likelihood.targets(self.pixels(images), rng)
        mean, log_variance = self.net.encode(targets)
        latents = reparameterise(mean, log_variance, rng)
        return self.likelihood.nll(self.net.decoder(latents), targets), kl_divergence(mean, log_variance)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        nll, kl = (term.mean() for term in self.terms(batch[0]))
        loss = nll + self.beta * kl
        self.train_means.add(len(batch[0]), loss, nll, kl)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx)
        images, labels = batch
        pixels = self.pixels(images)
        self.seen.append((pixels, self.net.encode(pixels)[0], labels))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx)

    def _evaluate(self, batch: Batch, batch_idx: int) -> None:
        # Each batch has a number of its own, whichever process has it, and so the same noise at every evaluation.
        number = batch_idx * self.trainer.world_size + self.global_rank
        nll, kl = (term.mean() for term in self.terms(batch[0], seeding.generator(0, "evaluation", number)))
        self.eval_means.add(len(batch[0]), nll + kl, nll, kl)
        self.add_real(batch)

    def on_validation_epoch_end(self) -> None:
        self._log("val/")

    def on_test_epoch_end(self) -> None:
        self._log("test/")

    def _log(self, prefix: str) -> None:
        means = self.eval_means.means(self, prefix)
        bpd = bits_per_dimension(means[f"{prefix}loss"], self.net.in_shape)
        quality = self.quality.measure(self, self.sample, prefix)
        for name, value in {**means, f"{prefix}bpd": bpd, **quality}.items():
            self.log(name, value, prog_bar=name in ("val/loss", "val/fcd"))

    def report(self) -> dict[str, Any]:
        return {"likelihood": type(self.likelihood).__name__}

    def pictures(self) -> dict[str, Tensor]:
        """Of the last validation, by name: samples; images over their reconstructions; ways; a map of latents."""
        pixels, latents, targets = (torch.cat(parts) for parts in zip(*self.seen, strict=True))
        num = plots.NUM_PICTURES
        pictures = {
            "samples": plots.grid(self.sample(64, seeding.generator(0, "pictures"))),
            "reconstructions": plots.pairs(pixels[:num], self.decode(latents[:num])),
            "interpolations": plots.interpolations(self.decode, latents[: num // 2]),
        }
        if targets.dim() == 1:  # a class each
            pictures["latents"] = plots.latent_map(latents, targets, pixels)
        return pictures


def reparameterise(mean: Tensor, log_variance: Tensor, rng: torch.Generator | None = None) -> Tensor:
    """A draw from a normal distribution through which gradients reach its mean and variance, all (B, D)."""
    return mean + (0.5 * log_variance).exp() * draw(torch.randn, mean, rng)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Of normal distributions with independent parts, (B, D), from the standard one, (B,), in nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def bits_per_dimension(nats: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Nats per image → bits per channel of a pixel."""
    return nats / (math.prod(shape) * math.log(2))
