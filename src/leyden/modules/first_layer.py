"""First layers that are prepared before the training: from training images, or with vectors of words from a file."""

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from leyden.data.datamodule import InMemoryData
from leyden.data.texts import TextData
from leyden.nets.airbench import Airbench
from leyden.nets.word_vectors import load_vectors

NUM_IMAGES = 5_000  # as in airbench94


def prepare_net(net: nn.Module, data: InMemoryData) -> None:
    """Give a net what it needs: a few thousand normalised images of the training split, or the tokens' vectors."""
    if isinstance(net, Airbench) and data.train is not None:
        images = data.train[0]
        index = torch.linspace(0, len(images) - 1, min(NUM_IMAGES, len(images))).long()
        device = net.whitening.weight.device
        net.prepare(data.transform(device)(images[index].to(device)).to(net.whitening.weight.dtype))
    if isinstance(data, TextData) and data.encoder is not None and (said := load_vectors(net, data.encoder.symbols)):
        _print(said)


@rank_zero_only
def _print(line: str) -> None:
    print(line, flush=True)
