"""Encoder, decoder and their pairs."""

import pytest
import torch

from leyden.nets.codec import DCGAN, Autoencoder, Encoder, GaussianAutoencoder


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 8, 12)])
def test_images_go_through_the_narrow_place_and_keep_their_shape(shape: tuple[int, ...]) -> None:
    images = torch.rand(4, *shape)
    for net, size in ((Autoencoder(shape, 7), 7), (GaussianAutoencoder(shape, 7), 14)):
        assert net.encoder(images).shape == (4, size)
        assert net(images).shape == images.shape
    assert DCGAN(shape, 5)(torch.randn(4, 5)).shape == images.shape


def test_the_weights_of_its_sizes() -> None:
    net = Encoder((1, 28, 28), 10, channels=(3, 5))
    convolutions = (16 * 1 * 3 + 3) + (16 * 3 * 5 + 5)
    assert sum(weight.numel() for weight in net.parameters()) == convolutions + 2 * 5 + (7 * 7 * 5) * 10 + 10


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ([10], {}, r"in_shape: got \[10\], a codec takes images"),
        ([1, 30, 28], {}, r"in_shape: got \[1, 30, 28\], 2 convolutions .* multiples of 4"),
        ([1, 28, 28], {"channels": [8, 8, 8]}, "in_shape: got .* multiples of 8"),
        ([1, 28, 28], {"channels": []}, "channels: got "),
        ([1, 28, 28], {"latent_size": 0}, "latent_size: got 0"),
    ],
)
@pytest.mark.parametrize("net", [Autoencoder, GaussianAutoencoder, DCGAN])
def test_what_it_cannot_take_it_names(net: type, shape: list[int], arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        net(shape, **arguments)


def test_an_autoencoder_can_learn_its_images_by_heart() -> None:
    torch.manual_seed(0)
    images = (torch.rand(8, 1, 28, 28) < 0.5).float()
    net = Autoencoder((1, 28, 28), 32, norm="none")
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(150):
        optimizer.zero_grad()
        (net(images).sigmoid() - images).square().mean().backward()
        optimizer.step()
    assert (net(images).sigmoid() - images).square().mean() < 0.01, "knowing nothing is 0.25"


def test_the_generator_ends_between_0_and_1_and_starts_from_the_papers_weights() -> None:
    net = DCGAN((3, 32, 32), channels=(64, 128))
    images = net(torch.randn(8, 64))
    assert 0 < images.min() < images.max() < 1
    assert net.generator[0].stages[2].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert net.discriminate(images).shape == (8,)


def test_spectral_norm_makes_the_largest_singular_value_one() -> None:
    net = DCGAN((1, 28, 28), channels=(8, 16), norm="none", spectral_norm=True)
    for _ in range(30):  # each look in training is a step of the power iteration
        net.discriminate(torch.rand(2, 1, 28, 28))
    layers = [net.discriminator.stages[0], net.discriminator.stages[2], net.discriminator.head]
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-2)
