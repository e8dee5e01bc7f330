"""Every net of images is a backbone; nets without one vector of features per sample are rejected."""

import pytest
import torch
from torch import nn

from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.nets.backbone import NoHead, last_layer, received_features, remove_head
from tests.conftest import SUPERVISED, TEXT, small
from tests.nets.defaults import net


@pytest.mark.parametrize("model", sorted(set(SUPERVISED) - {"seq2seq", "seq2seq_rnn", *TEXT}))
def test_features_are_what_the_last_layer_received(model: str) -> None:
    built = build_module(compose(*small(model), "data=digits", "trainer=cpu")).net.eval()
    images = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        before = received_features(built, built, images)
        num = remove_head(built, (1, 28, 28))
        assert built(images).shape == before.shape == (2, num)
        if model != "airbench":  # which scales its outputs
            assert built(images).equal(before)
    assert isinstance(last_layer(built), NoHead)


def test_a_net_without_features_says_so() -> None:
    with pytest.raises(ValueError, match="no layer before its last one"):
        remove_head(net("mlp", (1, 8, 8), 3, hidden=()), (1, 8, 8))
    with pytest.raises(ValueError, match="does not end with a linear layer"):
        remove_head(nn.Sequential(nn.Linear(8, 4), nn.Conv2d(1, 2, 3)), (1, 8, 8))
    with pytest.raises(ValueError, match="does not end with a linear layer"):
        remove_head(nn.Sequential(nn.Conv2d(1, 2, 3)), (1, 8, 8))
