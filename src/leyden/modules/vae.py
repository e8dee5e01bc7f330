"""Variational autoencoder (Kingma and Welling, 2014), with the weight β of Higgins et al. (2017).

An image is encoded as a normal distribution over latents. The evidence lower bound (ELBO) is the expected
log-likelihood of the image given such a latent, minus the Kullback-Leibler divergence of that distribution from the
standard normal distribution. It is a lower bound of the log-likelihood of the image. New images are decoded from
latents that are drawn from the standard normal distribution.
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
from leyden.modules.pixels import to_pixels
from leyden.nets.codec import GaussianAutoencoder
from leyden.optim import OptimizerFactory, SchedulerFactory

METRICS = ("loss", "nll", "kl")


class VAE(GenerativeModule):
    """Trains a variational autoencoder.

    Logs the negative ELBO of an image as ``loss``, and its two terms as ``nll`` (negative log-likelihood) and ``kl``
    (divergence), all in nats. For ``val`` and ``test`` the ELBO is that of β = 1, whatever `beta` is; ``bpd`` is the
    same in bits per dimension, and the quality of samples is measured, see `leyden.metrics.frechet`.

    Args:
        net: such as `leyden.nets.codec.GaussianAutoencoder`.
        optimizer, scheduler, objective: see `BaseModule`.
        num_classes, num_samples: see `GenerativeModule`.
        beta: weight of the divergence in training, at least 0.
        likelihood: distribution of a pixel, see `leyden.modules.likelihoods`; auto is bernoulli for grey images and
            logistic for colour images.

    Raises:
        ValueError: `beta` is out of its range, or `num_classes` or `num_samples` is below 2.
    """

    validation_metrics = ("loss", "nll", "kl", "bpd", "fcd", "coverage", "judge_acc")

    net: GaussianAutoencoder
    likelihood: Likelihood

    def __init__(
        self,
        net: GaussianAutoencoder,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        num_classes: int,
        beta: float,
        likelihood: Literal["auto", "bernoulli", "logistic"],
        num_samples: int,
    ) -> None:
        if not isinstance(net, GaussianAutoencoder):
            raise wrong_net(net, "vae")
        super().__init__(net, optimizer, scheduler, objective, METRICS, num_classes, num_samples, net.latent_size)
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta: got {beta}, must be at least 0")
        self.beta = beta
        grey = likelihood == "bernoulli" or (likelihood == "auto" and net.in_shape[0] == 1)
        self.likelihood = Bernoulli() if grey else DiscretisedLogistic(net.in_shape[0])
        self.eval_means = EpochMeanAccumulator(*METRICS)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) → their reconstructions from the mean latents, 0 to 1."""
        return self.decode(self.net.encode(to_pixels(self, images))[0])

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, latent_size) → the mean of each pixel, (B, C, H, W), 0 to 1."""
        logits: Tensor = self.net.decoder(latents)
        return logits.sigmoid()

    def terms(self, images: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return the two terms of the negative ELBO of each image.

        Args:
            images: normalised, (B, C, H, W).
            rng: a generator on the CPU; None for the generator of the device.

        Returns:
            Negative log-likelihood and divergence, (B,) each, in nats.
        """
        targets = self.likelihood.targets(to_pixels(self, images), rng)
        mean, log_variance = self.net.encode(targets)
        latents = reparameterise(mean, log_variance, rng)
        return self.likelihood.nll(self.net.decoder(latents), targets), kl_divergence(mean, log_variance)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        nll, kl = (term.mean() for term in self.terms(images))
        loss = nll + self.beta * kl
        self.train_means.add(len(images), loss, nll, kl)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []  # pixels, latents and targets for the plots

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch, batch_idx)
        images, targets = batch
        if sum(len(latents) for _, latents, _ in self.seen) < plots.MAP_IMAGES:
            pixels = to_pixels(self, images)
            latents = self.net.encode(pixels)[0].to(pixels.dtype)  # `images` is called without autocast
            self.seen.append((pixels, latents, targets))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch, batch_idx)

    def evaluate(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the metrics of its split."""
        # The number of a batch, and so its noise, does not depend on the epoch or on which process evaluates it.
        number = batch_idx * self.trainer.world_size + self.global_rank
        nll, kl = (term.mean() for term in self.terms(batch[0], seeding.generator(0, "evaluation", number)))
        self.eval_means.add(len(batch[0]), nll + kl, nll, kl)
        self.add_real(batch)

    def on_validation_epoch_end(self) -> None:
        self.log_split("val/")

    def on_test_epoch_end(self) -> None:
        self.log_split("test/")

    def log_split(self, prefix: str) -> None:
        """Log the metrics of a whole split."""
        means = self.eval_means.means(self, prefix)
        bpd = bits_per_dimension(means[f"{prefix}loss"], self.net.in_shape)
        quality = self.quality.measure(self, self.sample, prefix)
        for name, value in {**means, f"{prefix}bpd": bpd, **quality}.items():
            self.log(name, value, prog_bar=name in ("val/loss", "val/fcd"))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if "optimizer_states" not in checkpoint:  # best.ckpt
            return
        # In Leyden 0.1 the optimizer also had the frozen weights of the feature extractor.
        for state in checkpoint["optimizer_states"]:
            drop_frozen(state, [weight.requires_grad for weight in self.parameters()])

    def report(self) -> dict[str, Any]:
        return {"likelihood": type(self.likelihood).__name__}

    def images(self) -> dict[str, Tensor]:
        """Return plots of the last validation: samples, reconstructions, interpolations, and a map of latents."""
        pixels, latents, targets = (torch.cat(batches) for batches in zip(*self.seen, strict=True))
        num = plots.NUM_IMAGES
        images = {
            "samples": plots.grid(self.sample(64, seeding.generator(0, "pictures"))),
            "reconstructions": plots.pairs(pixels[:num], self.decode(latents[:num])),
            "interpolations": plots.interpolations(self.decode, latents[: num // 2]),
        }
        if targets.dim() == 1:  # one class per image
            images["latents"] = plots.latent_map(latents, targets, pixels)
        return images


def drop_frozen(state: dict[str, Any], trainable: list[bool]) -> None:
    """Remove frozen weights, if there are any, from the state dict of an optimizer, in place. It then has one group.

    Args:
        state: state dict of an optimizer for the trainable weights, or for all of them.
        trainable: whether each weight of the module is trainable.
    """
    groups = state["param_groups"]
    if sum(len(group["params"]) for group in groups) == sum(trainable):
        return
    (group,) = groups
    kept = [number for number, kept in zip(group["params"], trainable, strict=True) if kept]
    state["state"] = {new: state["state"][old] for new, old in enumerate(kept) if old in state["state"]}
    group["params"] = list(range(len(kept)))


def reparameterise(mean: Tensor, log_variance: Tensor, rng: torch.Generator | None = None) -> Tensor:
    """Draw from normal distributions so that gradients reach their mean and variance; all tensors are (B, D)."""
    return mean + (0.5 * log_variance).exp() * draw(torch.randn, mean, rng)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the divergence of diagonal normal distributions, (B, D), from the standard one, in nats, (B,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def bits_per_dimension(nats: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Nats per image → bits per dimension, which is one channel of one pixel."""
    return nats / (math.prod(shape) * math.log(2))
