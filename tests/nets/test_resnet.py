"""The residual net."""

import pytest
import torch
from torch.nn.functional import conv2d

from leyden.nets.resnet import Block
from tests.nets.defaults import net


def num_weights(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_resnet_18_has_the_weights_of_its_paper() -> None:
    assert num_weights(net("resnet", (3, 32, 32), 10)) == 11_173_962


def test_stages_halve_the_image() -> None:
    built = net("resnet", (1, 28, 28), 10, widths=[4, 8, 16, 32], depths=[1, 1, 1, 1])
    assert built.blocks(built.stem(torch.randn(1, 1, 28, 28))).shape == (1, 32, 4, 4)


@pytest.mark.parametrize("size", [7, 8])
def test_a_shortcut_is_a_convolution_with_a_stride(size: int) -> None:
    block, x = Block(4, 6, "batch", stride=2), torch.randn(2, 4, size, size)
    wanted = conv2d(x, block.shortcut[1].weight, stride=2)
    assert block.shortcut[:2](x).allclose(wanted, atol=1e-6)
    assert block(x).shape == (2, 6, 4, 4)


def test_gradients_do_not_depend_on_the_memory_format() -> None:
    built, images = net("resnet", (1, 56, 56), 3, widths=[4, 8], depths=[1, 1]), torch.randn(3, 1, 56, 56)
    gradients = []
    for order in (torch.channels_last, torch.contiguous_format):
        built.to(memory_format=order).zero_grad()
        built(images).square().sum().backward()
        gradients.append([weight.grad.clone() for weight in built.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one.allclose(other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))


def test_a_block_without_weights_is_its_shortcut() -> None:
    block, x = net("resnet", (1, 8, 8), 2, widths=[4], depths=[1]).blocks[0], torch.rand(2, 4, 8, 8)
    for weight in block.parameters():
        torch.nn.init.zeros_(weight)
    assert torch.equal(block(x), x)
