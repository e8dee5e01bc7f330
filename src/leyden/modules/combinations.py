"""Combinations of config values with which a model cannot be trained. They are found before any data is read."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from leyden.data.datamodule import InMemoryData
from leyden.data.images import ImageData
from leyden.errors import UserError
from leyden.modules.autoencoder import Autoencoder
from leyden.modules.base import BaseModule
from leyden.modules.classifier import Classifier
from leyden.modules.clip import CLIP
from leyden.modules.gan import GAN
from leyden.modules.generative import GenerativeModule
from leyden.nets.codec import DCGAN
from leyden.nets.ensemble import Ensemble
from leyden.optim.muon import Muon, groups

# targets → the tasks that learn to predict them
TASKS = {
    "class": "classification",
    "labels": "multilabel",
    "symbols": "transcription",
    "numbers": "regression or forecasting",
    "next": "language_modelling",
}


def check_combinations(module: BaseModule, data: InMemoryData, compiled: bool) -> None:
    """Check values that are allowed alone, but not together.

    Args:
        module: the module to train.
        data: its data, before it has read anything.
        compiled: whether the net will be compiled.

    Raises:
        UserError: the module cannot be trained this way.
    """
    shape = data.shape
    if module.target_kind and data.target_kind and module.target_kind != data.target_kind:
        raise UserError(
            f"task: got {type(module).__name__}, which does not fit the targets of {type(data).__name__}; "
            f"use task={TASKS[data.target_kind]}"
        )
    if isinstance(data, ImageData) and data.labels != 1.0 and isinstance(module, Autoencoder | GenerativeModule):
        raise UserError(
            f"data.labels: got {data.labels}, but {type(module).__name__} needs none; use data.limit for fewer images"
        )
    if isinstance(module, Classifier) and module.cutmix and len(shape) != 3:
        raise UserError(
            f"task.cutmix: got {module.cutmix}, needs images, but data.shape is {list(shape)}; task.mixup takes any"
        )
    if isinstance(module, Classifier) and module.tta != "none" and (len(shape) != 3 or min(shape[1:]) < 2):
        raise UserError(f"task.tta: got {module.tta}, needs images, but data.shape is {list(shape)}; use task.tta=none")
    if isinstance(module, GAN) and module.r1 and compiled:
        raise UserError(
            f"trainer.compile: cannot be combined with task.r1={module.r1}, because compiled nets have no second "
            "derivative; use task.r1=0 or trainer.compile=false"
        )
    if module.optimizer.func is Muon and not any(group["kind"] == "matrices" for group in groups(module.net)):
        raise UserError(
            f"optimizer: got muon, but {type(module.net).__name__} has no matrix before its last layer, so muon has "
            "nothing to train; use optimizer=adamw"
        )
    if data.batch_size == 1:
        check_single_samples(module, shape)


def check_single_samples(module: BaseModule, shape: Sequence[int]) -> None:
    """Raise UserError if `module` cannot be trained on batches of one sample."""
    if isinstance(module, CLIP):
        raise UserError("data.batch_size: got 1, but task=clip compares the samples of a batch; use at least 2")
    if not trains_on_one_sample(module.net, shape):
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
            net(torch.empty(net.num_members if isinstance(net, Ensemble) else 1, *shape, device="meta"))
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            return False
        raise
    return True


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
