"""Nets of torchvision with published weights."""

import sys

import pytest
import torch

from leyden.nets.pretrained import Pretrained, head
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


class TestTimm:
    def net(self, name: str, size: int = 32) -> Pretrained:
        pytest.importorskip("timm", reason="timm is not installed")
        return Pretrained((3, 8, 8), 5, f"timm/{name}", "none", size, 0)

    @pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
    def test_outputs_and_head(self, name: str) -> None:
        net = self.net(name).eval()
        assert net(torch.randn(2, 1, 8, 8)).shape == (2, 5)
        frozen = {id(weight) for weight in net.backbone()}
        trained = [weight for weight in net.parameters() if id(weight) not in frozen]
        assert trained
        assert all(5 in weight.shape for weight in trained)

    def test_a_name_that_does_not_exist_is_one_line(self) -> None:
        with pytest.raises(
            ValueError, match=r"^name: got 'timm/resnet19'; timm has no such net, did you mean timm/res"
        ):
            self.net("resnet19")

    @pytest.mark.parametrize("name", ["hf-hub:stranger/net", "local-dir:/tmp", "../net", ""])
    def test_an_address_is_no_name(self, name: str) -> None:
        with pytest.raises(ValueError, match="timm has no such net"):
            self.net(name)

    def test_without_timm_it_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(
            ValueError, match=r'^name: got .timm/resnet18., which needs timm: pip install -e "\.\[timm\]"'
        ):
            Pretrained((3, 8, 8), 5, "timm/resnet18", "none", 32, 0)
