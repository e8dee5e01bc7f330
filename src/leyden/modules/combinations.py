"""Combinations of config values with which a model cannot be trained. They are found before any data is read."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.modules.classifier import Classifier
from leyden.modules.gan import GAN
from leyden.nets.codec import DCGAN


def check_combinations(module: BaseModule, shape: Sequence[int], batch_size: int, compiled: bool) -> None:
    """Check values that are allowed alone, but not together.

    Args:
        module: the module to train.
        shape: shape of one sample.
        batch_size: samples per training step and process.
        compiled: whether the net will be compiled.

    Raises:
        UserError: the module cannot be trained this way.
    """
    if isinstance(module, Classifier) and module.cutmix and len(shape) != 3:
        raise UserError(
            f"task.cutmix: got {module.cutmix}, needs images, but data.shape is {list(shape)}; task.mixup takes any"
        )
    if isinstance(module, GAN) and module.r1 and compiled:
        raise UserError(
            f"trainer.compile: cannot be combined with task.r1={module.r1}, because compiled nets have no second "
            "derivative; use task.r1=0 or trainer.compile=false"
        )
    if batch_size == 1 and not trains_on_one_sample(module.net, shape):
        raise UserError("data.batch_size: got 1, but the batch norm of this model needs at least 2 samples")


def trains_on_one_sample(net: nn.Module, shape: Sequence[int]) -> bool:
    """Return whether `net` can be trained on batches of one sample: batch norm needs two values per channel.

    Runs a copy of the net on the meta device, which computes shapes only.
    """
    if not any(isinstance(module, BATCH_NORMS) for module in net.modules()):
        return True
    net = copy.deepcopy(net).to("meta").train()
    try:
        if isinstance(net, DCGAN):
            net.discriminate(net(torch.empty(1, net.latent_size, device="meta")))
        else:
            net(torch.empty(1, *shape, device="meta"))
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            return False
        raise
    return True


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
