"""The nets of flow matching: U-Net and DiT."""

import pytest
import torch
from torch import Tensor, nn

from leyden.config.builders import section
from leyden.config.compose import compose
from leyden.config.instantiate import instantiate
from leyden.errors import UserError
from leyden.modules.flow_plots import TIMES, attention
from leyden.modules.paths import Straight
from leyden.nets.conditional import ConditionalNet
from leyden.nets.dit import DiT
from leyden.nets.unet import doubled
from tests.conftest import small


def net(model: str, shape: tuple[int, ...] = (1, 28, 28), *overrides: str, train: bool = True) -> ConditionalNet:
    cfg = compose(*small(model), *overrides)
    built = instantiate({**section(cfg, "model"), "in_shape": shape, "num_classes": 3}, "model")
    assert isinstance(built, ConditionalNet)
    torch.manual_seed(0)
    for weight in built.parameters() if train else ():
        nn.init.normal_(weight, std=0.3)  # many are 0 at first
    return built.eval()


def inputs(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(2, *shape), torch.tensor([0.2, 0.9]), torch.eye(3)[:2]


MODELS = ("flow", "dit")
MORE = {"flow": ("model.widths=[8,8,8]",), "dit": ("model.patch=3",)}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 7, 10)])
def test_an_output_for_each_pixel(model: str, shape: tuple[int, ...]) -> None:
    built = net(model, shape, *MORE[model])
    assert built(*inputs(shape)).shape == (2, *shape)
    assert built.in_shape == shape


@pytest.mark.parametrize("model", MODELS)
def test_time_and_class_matter_and_samples_are_independent(model: str) -> None:
    built, (x, times, classes) = net(model), inputs((1, 28, 28))
    with torch.no_grad():
        outputs = built(x, times, classes)
        assert torch.allclose(built(x[:1], times[:1], classes[:1]), outputs[:1], atol=1e-4)
        assert (built(x, times + 0.05, classes) - outputs).abs().max() > 1e-2
        assert (built(x, times, classes.flip(0)) - outputs).abs().max() > 1e-2


@pytest.mark.parametrize("model", MODELS)
def test_a_new_net_predicts_nothing(model: str) -> None:
    assert net(model, train=False)(*inputs((1, 28, 28))).abs().max() == 0


def test_doubling_repeats_pixels_and_cuts_off() -> None:
    x = torch.arange(4.0).view(1, 1, 2, 2)
    assert doubled(x, (3, 4))[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]]


def test_the_patches_are_put_together_where_they_came_from() -> None:
    built = net("dit", (1, 4, 6), "model.patch=2")
    assert isinstance(built, DiT)
    image = torch.arange(24.0).view(1, 1, 4, 6)
    patches = image.unfold(2, 2, 2).unfold(3, 2, 2).reshape(1, 6, 4)  # from left to right, from top to bottom
    assert built.image(patches).equal(image)


def test_attention_of_the_dit() -> None:
    built = net("dit")
    assert isinstance(built, DiT)
    weights = built.attention(*inputs((1, 28, 28)))
    assert weights.shape == (1, 2, 4, 49, 49)
    assert torch.allclose(weights.sum(-1), torch.ones(1, 2, 4, 49), atol=1e-5)


def test_a_plot_of_the_attention() -> None:
    built = net("dit", (1, 10, 8), "model.patch=4")
    assert isinstance(built, DiT)
    titled = attention(built, Straight(), torch.randn(2, 1, 10, 8), torch.rand(2, 1, 10, 8), torch.eye(3)[:2])
    height, width, scale = 2 * 11 + 1, 2 * len(TIMES) * 9 + 1, 7  # below the title, enlarged to 500 pixels
    assert titled.shape[1] > scale * height
    drawn = titled[:, -scale * height :: scale, : scale * width : scale]
    weights = drawn[0, 1:11, 10:18]  # the second picture: patches of the size 4, cut off at the lower edge
    assert (weights[:4, :4] == weights[0, 0]).all()
    assert weights.max() == 1


@pytest.mark.parametrize(
    ("model", "shape", "override", "message"),
    [
        ("flow", (10,), "model.depth=1", "model.in_shape: got [10], a unet needs images [channels, height, width]"),
        ("dit", (8, 2), "model.dim=16", "model.in_shape: got [8, 2], a dit needs images [channels, height, width]"),
        ("flow", (1, 28, 28), "model.widths=[]", "model.widths: got [], must have at least one level"),
        ("flow", (1, 2, 28), "model.widths=[4,4,4]", "model.widths: got 3 levels, too many for images of 2x28 pixels"),
        ("flow", (1, 28, 28), "model.depth=0", "model.depth: got 0, must be at least 1"),
        ("flow", (1, 28, 28), "model.num_heads=3", "model.num_heads: got 3, must be 0 or divide the last width, 8"),
        ("flow", (1, 28, 28), "model.dropout=1.0", "model.dropout: got 1.0, must be at least 0 and below 1"),
        ("dit", (1, 28, 28), "model.patch=40", "model.patch: got 40, must be between 1 and 28, the side of an image"),
    ],
)
def test_a_wrong_size(model: str, shape: tuple[int, ...], override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        net(model, shape, override)
    assert str(caught.value) == message
