"""Plots of generative modules."""

import torch

from leyden.modules.plots import latent_map, pairs, principal_components


def test_pairs_stand_one_above_the_other() -> None:
    white, black = torch.ones(19, 1, 2, 2), torch.zeros(19, 1, 2, 2)
    image = pairs(white, black)  # 16 of each, in four rows of eight, separated by grey lines
    assert image.shape == (3, 4 * 3 + 1, 8 * 3 + 1)
    assert image[0, 1::3, 1].tolist() == [1, 0, 1, 0]


def test_principal_components_are_the_directions_of_the_largest_variance() -> None:
    points = torch.zeros(4, 3)
    points[:, 2], points[:, 0] = torch.tensor([-6.0, -2.0, 2.0, 6.0]), torch.tensor([1.0, -1.0, -1.0, 1.0])
    assert torch.allclose(principal_components(points), points[:, [2, 0]], atol=1e-5)


def test_the_map_shows_each_class_in_a_colour_of_its_own() -> None:
    latents = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    image = latent_map(latents, torch.arange(50) % 2, torch.rand(50, 1, 28, 28))
    colours = image[:, :, :512].flatten(1).unique(dim=1)
    assert colours.shape == (3, 3), "two classes on white"
    assert image.shape[2] > 512
