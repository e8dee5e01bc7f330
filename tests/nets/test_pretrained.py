"""Nets of torchvision with published weights."""

import pytest
import torch

from leyden.nets.pretrained import head
from tests.nets.defaults import net


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "squeezenet1_1", "mobilenet_v3_small", "vit_b_32"])
def test_the_head_has_the_outputs(name: str) -> None:
    last = head(net("pretrained", (3, 32, 32), 7, name=name, weights="none").model)
    assert 7 in (getattr(last, "out_features", 0), getattr(last, "out_channels", 0))


def test_a_grey_image_is_one_of_three_equal_channels() -> None:
    torch.manual_seed(0)
    built = net("pretrained", (1, 28, 28), 7, name="shufflenet_v2_x0_5", weights="none", size=32).eval()
    grey = torch.randn(2, 1, 28, 28)
    assert torch.equal(built(grey), built(grey.repeat(1, 3, 1, 1)))


def test_frozen_batch_norms_do_not_move() -> None:
    built = net("pretrained", (1, 28, 28), 7, name="shufflenet_v2_x0_5", weights="none", size=32)
    before = {name: value.clone() for name, value in built.state_dict().items()}
    built.freeze(True)
    built.eval().train()(torch.randn(4, 1, 28, 28))
    assert all(torch.equal(before[name], value) for name, value in built.state_dict().items())
    built.freeze(False)
    built(torch.randn(4, 1, 28, 28))
    assert not all(torch.equal(before[name], value) for name, value in built.state_dict().items())


def test_wrong_values() -> None:
    with pytest.raises(ValueError, match=r"^name: got 'resnet17'; torchvision has .*resnet18"):
        net("pretrained", (1, 28, 28), 7, name="resnet17")
    with pytest.raises(ValueError, match=r"^size: got 100, which vit_b_32 cannot process"):
        net("pretrained", (1, 28, 28), 7, name="vit_b_32", size=100)
    with pytest.raises(ValueError, match=r"^freeze_epochs: got 1, must be 0 with weights=none"):
        net("pretrained", (1, 28, 28), 7, weights="none", freeze_epochs=1)
