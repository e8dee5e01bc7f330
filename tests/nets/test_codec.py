"""Encoder, decoder, autoencoders and DCGAN."""

import pytest
import torch

from leyden.nets.codec import Encoder
from tests.nets.defaults import net


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 8, 12)])
def test_images_keep_their_shape(shape: tuple[int, ...]) -> None:
    images = torch.rand(4, *shape)
    for model, size in (("autoencoder", 7), ("vae", 14)):
        built = net(model, shape, latent_size=7)
        assert built.encoder(images).shape == (4, size)
        assert built(images).shape == images.shape
    assert net("gan", shape, latent_size=5)(torch.randn(4, 5)).shape == images.shape


def test_the_weights_of_its_sizes() -> None:
    encoder = Encoder((1, 28, 28), 10, channels=(3, 5), norm="batch")
    convolutions = (16 * 1 * 3 + 3) + (16 * 3 * 5 + 5)
    assert sum(weight.numel() for weight in encoder.parameters()) == convolutions + 2 * 5 + (7 * 7 * 5) * 10 + 10


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ([10], {}, r"in_shape: got \[10\], an encoder needs images"),
        ([1, 30, 28], {}, r"in_shape: got \[1, 30, 28\], but 2 convolutions.* multiples of 4"),
        ([1, 28, 28], {"channels": [8, 8, 8]}, "in_shape: got .* multiples of 8"),
        ([1, 28, 28], {"channels": []}, "channels: got "),
        ([1, 28, 28], {"latent_size": 0}, "latent_size: got 0"),
    ],
)
@pytest.mark.parametrize("model", ["autoencoder", "vae", "gan"])
def test_wrong_values_are_named(model: str, shape: list[int], arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        net(model, shape, **arguments)


def test_an_autoencoder_can_overfit_its_images() -> None:
    torch.manual_seed(0)
    images = (torch.rand(8, 1, 28, 28) < 0.5).float()
    built = net("autoencoder", (1, 28, 28), latent_size=32, channels=[32, 64], norm="none")
    optimizer = torch.optim.Adam(built.parameters(), lr=2e-3)
    for _ in range(150):
        optimizer.zero_grad()
        (built(images).sigmoid() - images).square().mean().backward()
        optimizer.step()
    assert (built(images).sigmoid() - images).square().mean() < 0.01, "a constant grey has 0.25"


def test_the_generator_ends_between_0_and_1_and_starts_from_the_papers_weights() -> None:
    built = net("gan", (3, 32, 32), channels=(64, 128))
    images = built(torch.randn(8, 64))
    assert 0 < images.min() < images.max() < 1
    assert built.generator[0].stages[2].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert built.discriminate(images).shape == (8,)


def test_spectral_norm_makes_the_largest_singular_value_one() -> None:
    built = net("gan", (1, 28, 28), channels=(8, 16), norm="none", spectral_norm=True)
    for _ in range(30):  # each call in training mode is a step of the power iteration
        built.discriminate(torch.rand(2, 1, 28, 28))
    layers = [built.discriminator.stages[0], built.discriminator.stages[2], built.discriminator.head]
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-2)
