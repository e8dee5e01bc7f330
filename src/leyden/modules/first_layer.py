"""First layers that are computed from training images before the training."""

import torch
from torch import nn

from leyden.data.datamodule import InMemoryData
from leyden.nets.airbench import Airbench

NUM_IMAGES = 5_000  # as in airbench94


def prepare_net(net: nn.Module, data: InMemoryData) -> None:
    """Give a net that needs them a few thousand images from all over the training split, normalised."""
    if isinstance(net, Airbench) and data.train is not None:
        images = data.train[0]
        index = torch.linspace(0, len(images) - 1, min(NUM_IMAGES, len(images))).long()
        device = net.whitening.weight.device
        net.prepare(data.transform(device)(images[index].to(device)).to(net.whitening.weight.dtype))
