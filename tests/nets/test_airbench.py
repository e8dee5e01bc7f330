"""Whitened patches, convolutions that begin as the identity, and sizes."""

import pytest
import torch

from leyden.modules.first_layer import prepare_net
from leyden.nets.airbench import identity_convolution, whitening_kernels
from tests.data.building import build_data
from tests.nets.defaults import net


def test_whitened_patches_are_uncorrelated_and_have_a_mean_square_of_one() -> None:
    torch.manual_seed(0)
    images = torch.nn.functional.avg_pool2d(torch.randn(600, 2, 9, 9), 2, 1) * 3  # neighbours are correlated
    outputs = torch.nn.functional.conv2d(images, whitening_kernels(images, 2)).transpose(0, 1).flatten(1)
    assert outputs.shape[0] == 8
    assert torch.allclose(outputs @ outputs.T / outputs.shape[1], torch.eye(8), atol=0.02)


def test_a_convolution_begins_as_the_identity() -> None:
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(identity_convolution(3, 4)(x)[:, :3], x)


@pytest.mark.parametrize(("shape", "depth"), [((3, 32, 32), 2), ((1, 28, 28), 3), ((1, 9, 30), 1)])
def test_its_sizes_follow_from_the_images(shape: tuple[int, ...], depth: int) -> None:
    built = net("airbench", shape, 7, widths=[4, 8, 6], depth=depth)
    assert built(torch.randn(2, *shape)).shape == (2, 7)
    assert built.head.weight.std().item() == pytest.approx(1)


def test_the_first_layer_comes_from_the_training_images_and_is_kept_when_it_was_loaded() -> None:
    data = build_data("digits")
    data.setup("fit")
    built = net("airbench", (1, 28, 28), 10, widths=[4])
    prepare_net(built, data)
    kernels = built.whitening.weight.detach().clone()
    assert torch.equal(kernels[:4], -kernels[4:])
    assert torch.allclose(kernels[:4], whitening_kernels(data.transform("cpu")(data.train[0]), 2), atol=1e-4)
    built.prepare(torch.randn(9, 1, 28, 28))
    assert torch.equal(built.whitening.weight, kernels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": [4] * 4}, r"widths: got \[4, 4, 4, 4\], must be 1 to 3 for images of \(1, 9, 9\)"),
        ({"widths": []}, r"widths: got \[\], must be 1 to 3"),
        ({"depth": 0}, "depth: got 0, must be at least 1"),
        ({"head_scale": 0}, "head_scale: got 0, must be above 0"),
        ({"bias_epochs": 0}, "bias_epochs: got 0, must be at least 1"),
    ],
)
def test_a_number_out_of_range(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        net("airbench", (1, 9, 9), 3, **arguments)
