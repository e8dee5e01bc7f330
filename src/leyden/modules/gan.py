"""Generative adversarial network (Goodfellow et al., 2014), as DCGAN trains it (Radford et al., 2016).

The discriminator learns to distinguish real images from generated ones. The generator learns to generate images that
the discriminator classifies as real, with the non-saturating loss -log D(G(z)) instead of log(1 - D(G(z))). Optional:
the R1 penalty on the gradient of the discriminator (Mescheder et al., 2018), spectral normalisation
(`leyden.nets.codec.DCGAN`), and clipping of both gradients. New images come from a moving average of the weights of the
generator (Yazıcı et al., 2019).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.functional import softplus
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel

from leyden import seeding
from leyden.data.loaders import Batch
from leyden.modules import plots
from leyden.modules.base import wrong_net
from leyden.modules.generative import GenerativeModule
from leyden.modules.pixels import to_pixels
from leyden.nets.codec import DCGAN
from leyden.optim import OptimizerFactory, SchedulerFactory, configure
from leyden.optim.averages import ema_decay, update_average


class GAN(GenerativeModule):
    """Trains a generator and a discriminator against each other.

    Logs the loss of each net, and for ``val`` and ``test`` the quality of samples, see `leyden.metrics.frechet`. A
    training step is one step of the discriminator and one of the generator. Each has its own optimizer and
    schedule, made by the same factories.

    Args:
        net: such as `leyden.nets.codec.DCGAN`.
        optimizer, scheduler, objective: see `BaseModule`.
        num_classes, num_samples: see `GenerativeModule`.
        r1: weight of the penalty on the discriminator's gradient at real images, at least 0; 0 turns it off.
        ema: decay of the moving average of the generator's weights per step, at least 0 and below 1.
        gradient_clip_val: maximum norm of each net's gradient, at least 0; 0 turns it off.

    Raises:
        ValueError: an argument is out of its range.
    """

    validation_metrics = ("fcd", "coverage", "judge_acc")

    net: DCGAN

    def __init__(
        self,
        net: DCGAN,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        num_classes: int,
        r1: float,
        ema: float,
        gradient_clip_val: float,
        num_samples: int,
    ) -> None:
        if not isinstance(net, DCGAN):
            raise wrong_net(net, "gan")
        train_metrics = ("loss", "discriminator", "generator")
        super().__init__(net, optimizer, scheduler, objective, train_metrics, num_classes, num_samples, net.latent_size)
        for name, value in (("r1", r1), ("gradient_clip_val", gradient_clip_val)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: got {value}, must be at least 0")
        if not 0 <= ema < 1:
            raise ValueError(f"ema: got {ema}, must be at least 0 and below 1")
        self.automatic_optimization = False
        self.r1, self.gradient_clip_val = r1, gradient_clip_val
        self.ema = ema
        # Only a container, with the names that stored checkpoints have: its own update reads from the device.
        self.average = AveragedModel(net.generator, use_buffers=True)
        self.average.requires_grad_(False)
        self.num_averaged = 0

    def forward(self, latents: Tensor) -> Tensor:
        """Do the same as `decode`."""
        return self.decode(latents)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, latent_size) from a standard normal distribution → images (B, C, H, W), 0 to 1."""
        images: Tensor = self.average(latents)
        return images

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        real = to_pixels(self, batch[0])
        fake = self.net(torch.randn(len(real), self.net.latent_size, device=self.device))
        generator, discriminator = self.optimizers()  # type: ignore[attr-defined]
        d_loss = discriminator_loss(self.net.discriminate(real), self.net.discriminate(fake.detach()))
        penalty = self.r1 / 2 * gradient_penalty(self.net.discriminate, real) if self.r1 else 0.0
        # Lightning counts the steps of its wrapped optimizers. Only one of the two is wrapped: one step per batch.
        self._descend(d_loss + penalty, discriminator.optimizer)
        g_loss = generator_loss(self.net.discriminate(fake))
        self._descend(g_loss, generator)
        self._update_average()
        for schedule in self._schedules():
            if not isinstance(schedule, ReduceLROnPlateau):
                schedule.step()
        loss = (d_loss + g_loss).detach()
        self.train_means.add(len(real), loss, d_loss, g_loss)
        return loss

    def _descend(self, loss: Tensor, optimizer: Optimizer | LightningOptimizer) -> None:
        """Take a step of `optimizer` with the gradient of its own weights; the other net gets no gradient.

        `autograd.grad` does not call the gradient hooks of DistributedDataParallel, which expect one backward pass
        through all weights per step. Therefore the mean over the processes is computed here.
        """
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        gradients = torch.autograd.grad(loss, weights)
        if self.trainer.world_size > 1:
            flat = self.trainer.strategy.reduce(torch.cat([g.flatten() for g in gradients]), reduce_op="mean")
            pieces = flat.split([g.numel() for g in gradients])
            gradients = tuple(piece.view_as(g) for piece, g in zip(pieces, gradients, strict=True))
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        if self.gradient_clip_val:
            clip_grad_norm_(weights, self.gradient_clip_val)
        optimizer.step()

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the average towards the generator. Nothing is read from the device."""
        averages, currents = ([*net.parameters(), *net.buffers()] for net in (self.average.module, self.net.generator))
        update_average(averages, currents, ema_decay(self.num_averaged, self.ema))
        self.average.n_averaged += 1
        self.num_averaged += 1

    def on_train_start(self) -> None:
        self.num_averaged = int(self.average.n_averaged)  # of a resumed run: one read from the device

    def _schedules(self) -> list[LRScheduler | ReduceLROnPlateau]:
        schedules = self.lr_schedulers()
        assert isinstance(schedules, list)
        return schedules

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.add_real(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.add_real(batch)

    def on_validation_epoch_end(self) -> None:
        metrics = self.quality.measure(self, self.sample, "val/")
        self.log_dict(metrics, prog_bar=True)
        if self.trainer.state.fn == "fit" and self.objective["metric"] in metrics:
            for schedule in self._schedules():
                if isinstance(schedule, ReduceLROnPlateau):
                    schedule.step(float(metrics[self.objective["metric"]]))

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.quality.measure(self, self.sample, "test/"))

    def images(self) -> dict[str, Tensor]:
        """Return samples, and interpolations between latents."""
        latents = self.random_latents(64, seeding.generator(0, "pictures"))
        return {
            "samples": plots.grid(self.decode(latents)),
            "interpolations": plots.interpolations(self.decode, latents[:16]),
        }

    def configure_optimizers(self) -> OptimizerLRScheduler:
        configs: list[Any] = [
            configure(net, self.optimizer, self.scheduler, self.trainer, self.objective)
            for net in (self.net.generator, self.net.discriminator)
        ]
        # `training_step` and `on_validation_epoch_end` step the schedules; Lightning does not, since it does not step
        # the optimizers either.
        return [config["optimizer"] for config in configs], [config["lr_scheduler"]["scheduler"] for config in configs]


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the cross-entropy, (), of logits (B,), with the targets "real" for real images, otherwise "generated"."""
    return softplus(-real).mean() + softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Return the non-saturating loss, (): the cross-entropy of the logits (B,) of generated images with "real"."""
    return softplus(-fake).mean()


def gradient_penalty(discriminate: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return R1 without its weight, (): the mean squared norm of the gradient of the logits at images (B, ...)."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminate(images).sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()
